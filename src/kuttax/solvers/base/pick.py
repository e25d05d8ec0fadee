"""Pick: one state that a solve passes, for penalties to look at."""

from typing import Any, NamedTuple

import equinox as eqx
from jaxtyping import Array

from ..._types import Count, State, Time


class Pick(eqx.Module):
    """Asks a solve for its state at a time, or at the start of one of its own steps, each as likely.

    On a fixed grid a time means the start of the step that it falls in: a fixed-step scheme has no states between. In
    an SDE it does so always: its path is rough there.

    Attributes:
        at: The time, a scalar; None for the start of a step.
        key: Draws the step where no time is given.
        moves: Whether derivatives see the state there move; it is a constant elsewhere.
    """

    at: Any
    key: Any = None
    moves: bool = eqx.field(static=True, default=False)


class Picked(NamedTuple):
    """What was picked: scalars and a state, or one of each a sample under per-sample control.

    Attributes:
        t, y: The time, and the state there.
        h: The size of the step that was taken there, with its sign.
        step: The number of that step.
    """

    t: Time
    y: State
    h: Time
    step: Count


class Recorded(NamedTuple):
    """What a solver saw on its way: the sum of each cost over the steps, and every pick."""

    costs: tuple[Array, ...] = ()
    picked: tuple[Picked, ...] = ()

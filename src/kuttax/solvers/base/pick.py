"""Pick: one state of a solve, for penalties."""

from typing import Any, NamedTuple

import equinox as eqx
from jaxtyping import Array

from ..._types import Count, State, Time


class Pick(eqx.Module):
    """Asks a solve for its state at a time, or at the start of one of its own steps, drawn uniformly.

    On a fixed grid a time means the start of the step that contains it: a fixed-step scheme has no states between. For
    an SDE it always means this, because the path is rough.

    Attributes:
        at: The time, a scalar; None for the start of a step.
        key: Draws the step if no time is given.
        moves: Whether the picked state carries derivatives; otherwise it is a constant.
    """

    at: Any
    key: Any = None
    moves: bool = eqx.field(static=True, default=False)


class Picked(NamedTuple):
    """The picked values: scalars and a state, or one of each for every sample under per-sample control.

    Attributes:
        t, y: The time, and the state there.
        h: The size of the step from there, with its sign.
        step: The number of that step.
    """

    t: Time
    y: State
    h: Time
    step: Count


class Recorded(NamedTuple):
    """The records of a solve: the sum of each cost over the steps, and every picked value."""

    costs: tuple[Array, ...] = ()
    picked: tuple[Picked, ...] = ()

"""EstimatedStep: a step whose error somebody else has estimated, as penalties see it."""

from collections.abc import Callable
from typing import NamedTuple

from ..._types import State, Time
from ..rk.controller import Controller


class EstimatedStep(NamedTuple):
    """A step of an SDE from y at t to y1 at t + h: what penalties see of it in place of a `Step`.

    Attributes:
        controller: What its error is held against.
        t, h: Its start and size, scalars.
        y, y1: The states at its start and end.
        estimate: Of its error, entry by entry; shaped like y.
        norm: Of a state.
    """

    controller: Controller
    t: Time
    h: Time
    y: State
    y1: State
    estimate: State
    norm: Callable[[State], Time]

    def error(self) -> Time:
        """E = |estimate / (atol + rtol max(|y|, |y1|))|: at most one where the step is accepted."""
        return self.norm(self.controller.scaled(self.estimate, self.y, self.y1))

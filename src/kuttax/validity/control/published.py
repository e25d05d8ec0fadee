"""StepControl and ToleranceControl: the algorithm of Ott et al."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ...errors import UserError
from ...solvers.base.solver import AbstractSolver
from ..certificate.one_path import on_one_path
from .control import Moment
from .dial import Dial, StepDial, ToleranceDial
from .reading import Reading, Tolerances


class OttState(NamedTuple):
    """The state of the algorithm.

    Attributes:
        dial: The controlled quantity.
        h: The step as a fraction of the interval, or the tolerance.
        checked: The optimiser step of the last check.
        tightened: How many times a tolerance's reference was tightened in this check.
        pending: Whether the check continues.
    """

    dial: Dial
    h: float
    checked: int = 0
    tightened: int = 0
    pending: bool = False


@dataclass(frozen=True, kw_only=True)
class AbstractOtt:
    """The published algorithm (Ott, Katiyar, Hennig, Tiemann, ICLR 2021, arXiv 2007.15386), for any dial h.

    Every 50 optimiser steps, on the training batch, the metric under the own solver is compared with that of a better
    one. If they differ by more than 0.1, h <- h / 2. Else h' = 1.1 h is tried, and kept if its metric is within 0.1 of
    the better solver's. Nothing is rolled back. (The try is solved together with the rest, whether it is needed or
    not.) Metrics other than accuracies are compared relative to the better solver's.

    Attributes:
        every: Optimiser steps between checks.
        most: The allowed gap: 0.1 is ten points of accuracy.

    Raises:
        UserError: A number is out of its range.
    """

    every: int = 50
    most: float = 0.1

    def __post_init__(self):
        if self.every < 1:
            raise UserError(f"every must be >= 1 optimiser steps, got {self.every}")
        if not self.most > 0:
            raise UserError(f"most, the gap that is tolerated, must be > 0, got {self.most}")

    @property
    def batch(self) -> Literal["training", "held-out"]:
        """Checks use the last training batch."""
        return "training"

    def samples(self, state: OttState) -> None:
        """None: all samples of the batch."""

    @property
    def certify(self) -> None:
        """None: there is no certificate."""

    def tolerances(self, state: OttState) -> Tolerances:
        """The unit of the strain in the log; the algorithm does not use it."""
        return Tolerances()

    @abstractmethod
    def dial(self, solver: AbstractSolver) -> Dial:
        """The dial of the controlled quantity of a solver."""

    def init(self, solver: AbstractSolver) -> OttState:
        """The state before training with this solver.

        Raises:
            UserError: The solver does not have the controlled quantity.
        """
        dial = self.dial(solver)
        return OttState(dial, dial.start)

    def dispatch(self, most: int) -> int:
        """The number of optimiser steps for which checks fall on the end of a dispatch."""
        return max(n for n in range(1, min(most, self.every) + 1) if self.every % n == 0)

    def due(self, state: OttState, now: Moment) -> bool:
        """Whether `every` optimiser steps have passed since the last check."""
        return now.step - state.checked >= self.every

    def asks(self, state: OttState, solver: AbstractSolver) -> tuple[AbstractSolver, ...]:
        """The own solver at h and at 1.1 h, and the better one."""
        larger = state.dial.turned(solver, state.dial.within(1.1 * state.h))
        return on_one_path(solver, larger, state.dial.better(solver, state.tightened))

    def update(self, readings: tuple[Reading, ...], state: OttState, now: Moment) -> tuple[float, OttState]:
        """The number of steps or the tolerance after a check, and the state."""
        own, larger, better = readings
        dial, h = state.dial, state.h
        if dial.must_tighten(own, better, state.tightened):
            return dial.size(h), state._replace(tightened=state.tightened + 1, pending=True)
        if not own.gap <= self.most:  # also true for NaN
            h = h / 2
        elif larger.gap <= self.most:
            h = 1.1 * h
        h = dial.within(h)
        return dial.size(h), state._replace(h=h, checked=now.step, tightened=0, pending=False)

    def solver(self, state: OttState, solver: AbstractSolver) -> AbstractSolver:
        """The same solver at the state's h."""
        return state.dial.turned(solver, state.h)

    def ended(self, state: OttState) -> OttState:
        """The state, unchanged."""
        return state

    def closing(self, state: OttState, now: Moment) -> None:
        """None: training may end in an invalid phase."""

    def closed(self, done: Any, state: OttState) -> OttState:
        """The state, unchanged."""
        return state


@dataclass(frozen=True, kw_only=True)
class StepControl(AbstractOtt):
    """The published control of the number of steps: see `AbstractOtt`, and `StepDial.better` for its test solvers.

    The step h is exact; the solver takes the number of steps nearest to 1 / h on a ladder of ratio 1.1 from its start,
    on which 1.1 h is one rung down.

    Attributes:
        most_steps: The largest number of steps of the solver.
    """

    most_steps: int = 10_000

    def dial(self, solver: AbstractSolver) -> StepDial:
        """The number of steps."""
        return StepDial.of(solver, self.most_steps)


@dataclass(frozen=True, kw_only=True)
class ToleranceControl(AbstractOtt):
    """The published control of an adaptive solver's tolerance: see `AbstractOtt`, and `ToleranceDial.better`.

    The paper starts at 1e-6.

    Attributes:
        dtype: Dtype of the state; it limits the relative tolerance.
    """

    dtype: Any = "float32"

    def dial(self, solver: AbstractSolver) -> ToleranceDial:
        """The tolerance."""
        return ToleranceDial.of(solver, self.dtype)

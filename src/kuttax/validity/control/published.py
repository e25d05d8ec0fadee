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
    """Where the algorithm stands.

    Attributes:
        dial: What h is.
        h: The step as a fraction of the interval, or the tolerance.
        checked: The optimiser step of the last check.
        tightened: How often the reference of a tolerance has been tightened in this check.
        pending: Whether the check goes on.
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
    one. Where they differ by more than 0.1, h <- h / 2. Else h' = 1.1 h is tried and kept where its metric is within
    0.1 of the better solver's. Nothing is rolled back. (The try is solved along with the rest, whether it is needed or
    not.) Metrics other than accuracies are compared relative to the better solver's.

    Attributes:
        every: Optimiser steps between checks.
        most: The gap that is tolerated: 0.1 is ten points of accuracy.

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
        """Checks look at the last batch trained on."""
        return "training"

    def samples(self, state: OttState) -> None:
        """As many as the batch has."""

    @property
    def certify(self) -> None:
        """Nothing is certified."""

    def tolerances(self, state: OttState) -> Tolerances:
        """For the strain in the log; the algorithm does not look at it."""
        return Tolerances()

    @abstractmethod
    def dial(self, solver: AbstractSolver) -> Dial:
        """What is controlled in a solver."""

    def init(self, solver: AbstractSolver) -> OttState:
        """The state before training with this solver.

        Raises:
            UserError: It has not what is to be controlled.
        """
        dial = self.dial(solver)
        return OttState(dial, dial.start)

    def dispatch(self, most: int) -> int:
        """So many optimiser steps that a check falls on the end of a dispatch."""
        return max(n for n in range(1, min(most, self.every) + 1) if self.every % n == 0)

    def due(self, state: OttState, now: Moment) -> bool:
        """Whether `every` optimiser steps have gone since the last check."""
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
        if not own.gap <= self.most:  # or it is no number
            h = h / 2
        elif larger.gap <= self.most:
            h = 1.1 * h
        h = dial.within(h)
        return dial.size(h), state._replace(h=h, checked=now.step, tightened=0, pending=False)

    def solver(self, state: OttState, solver: AbstractSolver) -> AbstractSolver:
        """The same solver at the state's h."""
        return state.dial.turned(solver, state.h)

    def ended(self, state: OttState) -> OttState:
        """The state as it was."""
        return state

    def closing(self, state: OttState, now: Moment) -> None:
        """Nothing: training may end in an invalid phase."""

    def closed(self, done: Any, state: OttState) -> OttState:
        """The state as it was."""
        return state


@dataclass(frozen=True, kw_only=True)
class StepControl(AbstractOtt):
    """The published control of the number of steps: see `AbstractOtt`, and `StepDial.better` for its test solvers.

    The step h is exact; the solver takes the whole number of steps nearest to 1 / h on a ladder of ratio 1.1 from where
    it starts, on which 1.1 h is one rung down.

    Attributes:
        most_steps: The solver never takes more.
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
        dtype: Of the state: the relative tolerance never leaves what it can carry.
    """

    dtype: Any = "float32"

    def dial(self, solver: AbstractSolver) -> ToleranceDial:
        """The tolerance."""
        return ToleranceDial.of(solver, self.dtype)

"""Dials: the quantity that a control changes, a solver's number of steps or its tolerance."""

import math
from dataclasses import dataclass
from typing import Any

from ...solvers.base.numbers import least_rtol
from ...solvers.base.solver import AbstractSolver
from ...solvers.rk.adaptive.adaptive import Adaptive
from ...solvers.rk.fixed import FixedSteps
from ...solvers.rk.tableaus import DOPRI5, DOPRI8, MIDPOINT, RK4, Tableau
from .ladder import Ladder
from .reading import Reading

_GAIN = 50  # own error over the better solver's error, if the own steps are coarse
_MOST_TIGHTENED = 6  # times a tolerance's reference may be tightened in one check
_FINER = 16  # factor on the steps of an SDE solver for the comparison scheme
_FEW = 16  # up to this many steps, the comparison scheme takes half as many


@dataclass(frozen=True)
class StepDial:
    """The number of steps N, with h = 1 / N: the error of a solver of order p grows as h^p.

    For an SDE solver each rung is twice the one below, so that all can follow one Brownian path. The comparison scheme
    is its own at 16 times the steps: it works with every kind of noise.

    Attributes:
        ladder: The allowed numbers of steps.
        order: p.
    """

    ladder: Ladder
    order: float

    @classmethod
    def of(cls, solver: AbstractSolver, most: int) -> "StepDial":
        """The dial of a solver with a number of steps; its ladder starts there and ends at `most`.

        Raises:
            UserError: It has no number of steps that can be controlled.
        """
        ratio = 1.1 if solver.path_cells() is None else 2.0
        return cls(Ladder(solver.number_of_steps(), ratio, most), solver.known_order())

    @property
    def start(self) -> float:
        """The h before training."""
        return 1 / self.ladder.start

    @property
    def coarsest(self) -> float:
        """The start of a search, and the largest allowed h: four steps, or the number of steps before training."""
        return max(1 / 4, self.start)

    def within(self, h: float) -> float:
        """The nearest allowed h."""
        return min(max(h, 1 / self.ladder.most), self.coarsest)

    def size(self, h: float) -> int:
        """The number of steps for h: the nearest on the ladder."""
        return self.ladder.nearest(1 / h)

    def snapped(self, h: float, stride: int) -> float:
        """The nearest h on every `stride`-th rung."""
        return 1 / self.ladder.nearest(1 / h, 1 if self.ladder.ratio >= 2 else stride)  # few programs anyway

    def finer(self, h: float) -> float:
        """The h of the next rung."""
        return 1 / self.ladder.next(self.size(h))

    def coarser(self, h: float) -> float:
        """The h of the next lower rung, down to one step; h itself if there is none."""
        return 1 / self.ladder.below(self.size(h))

    def turned(self, solver: AbstractSolver, h: float) -> AbstractSolver:
        """The same solver, with all learned parameters, at h."""
        steps = self.size(h)
        return solver if steps == solver.number_of_steps() else solver.with_steps(steps)

    def better(self, solver: AbstractSolver, tightened: int = 0) -> AbstractSolver:
        """A scheme of higher order, whose steps are no longer than the solver's.

        Ott et al. (ICLR 2021, arXiv 2007.15386) compare Euler with the midpoint rule: at Euler's own step h if 1/h >
        50, else at sqrt(h / 50), so that its h'^2 is at most h / 50. For a solver of order p and a test scheme of order
        q that is h'^q = h^p / 50: RK4 tests orders 2 and 3, DOPRI8 higher ones.
        """
        del tightened  # this scheme is fine enough from the start
        if solver.path_cells() is not None:
            return solver.with_steps(_FINER * solver.number_of_steps())
        scheme = self._scheme
        h = 1 / solver.number_of_steps()
        finer = min(h, (h**self.order / _GAIN) ** (1 / scheme.order))
        return FixedSteps(scheme, math.ceil(1 / finer - 1e-9))

    def higher(self, solver: AbstractSolver) -> AbstractSolver:
        """RK4, or beyond its order DOPRI8, with a quarter of the steps; half of the steps if there are few."""
        if solver.path_cells() is not None:
            return self.better(solver)
        steps = solver.number_of_steps()
        return FixedSteps(RK4 if self.order < 4 else DOPRI8, max(math.ceil(steps / 4), math.ceil(min(steps, _FEW) / 2)))

    @property
    def _scheme(self) -> Tableau:
        return MIDPOINT if self.order == 1 else RK4 if self.order < 4 else DOPRI8

    def must_tighten(self, own: Reading, better: Reading, tightened: int) -> bool:
        """Whether the better solver must be even better."""
        del own, better, tightened
        return False


@dataclass(frozen=True)
class ToleranceDial:
    """The relative tolerance h of an adaptive solver: its error grows about as h; the absolute one scales with h.

    Attributes:
        start: The h before training.
        dtype: Dtype of the state; it limits the tolerance.
        loosest: The largest h, unless training starts above it.
    """

    start: float
    dtype: Any = "float32"
    loosest: float = 0.1
    order: int = 1

    @classmethod
    def of(cls, solver: AbstractSolver, dtype: Any) -> "ToleranceDial":
        """The dial of an adaptive solver.

        Raises:
            UserError: It has no tolerance.
        """
        return cls(solver.tolerance(), dtype)

    @property
    def coarsest(self) -> float:
        """The start of a search, and the largest allowed h."""
        return max(self.loosest, self.start)

    def within(self, h: float) -> float:
        """The nearest allowed h."""
        return min(max(h, self._least), self.coarsest)

    def size(self, h: float) -> float:
        """The tolerance for h."""
        return self.within(h)

    def snapped(self, h: float, stride: int) -> float:
        """h itself: a new tolerance needs no compilation."""
        return h

    def finer(self, h: float) -> float:
        """A little less than h."""
        return self.within(h / 1.5)

    def coarser(self, h: float) -> float:
        """A little more than h."""
        return self.within(1.5 * h)

    def turned(self, solver: AbstractSolver, h: float) -> AbstractSolver:
        """The same solver at h."""
        tolerance = self.size(h)
        return solver if tolerance == solver.tolerance() else solver.with_tolerance(tolerance)

    def better(self, solver: AbstractSolver, tightened: int = 0) -> AbstractSolver:
        """DOPRI5 at a tenth of the solver's tolerance, and a further tenth for each tightening.

        The reference of Ott et al. (ICLR 2021, arXiv 2007.15386). The dtype limits its relative tolerance, but not the
        absolute one.
        """
        tight = solver.tolerance() * 10.0 ** -(1 + tightened)
        return Adaptive(DOPRI5, max(tight, self._least), tight)

    def higher(self, solver: AbstractSolver) -> AbstractSolver:
        """The same as `better`."""
        return self.better(solver)

    def must_tighten(self, own: Reading, better: Reading, tightened: int) -> bool:
        """Ott et al. tighten the reference until it takes more evaluations than the own solver."""
        return better.nfe <= own.nfe and tightened < _MOST_TIGHTENED

    @property
    def _least(self) -> float:
        return 1.01 * least_rtol(self.dtype)  # slightly above the limit, because of rounding


Dial = StepDial | ToleranceDial
"""What a control changes."""


def size_of(solver: AbstractSolver) -> float:
    """The relative tolerance of a solver that chooses its steps, or else its number of steps."""
    return solver.tolerance() if solver.chooses_steps else solver.number_of_steps()

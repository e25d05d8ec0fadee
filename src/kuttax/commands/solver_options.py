"""The options that name a solver on the command line."""

from collections.abc import Iterable
from dataclasses import Field, dataclass, fields
from typing import Any, Literal

import numpy as np

from ..distillation.students import STARTS
from ..errors import UserError
from ..solvers import tableaus
from ..solvers.adaptive import Adaptive, refuse_low_rtol
from ..solvers.base import AbstractSolver
from ..solvers.fixed import FixedSteps
from ..solvers.learned import LearnedRK
from ..solvers.tableaus import Tableau
from . import sde_solvers
from .parser import changed


def tableau(name: str) -> Tableau:
    """The classical tableau of that name.

    Raises:
        UserError: There is none.
    """
    if name not in tableaus.ALL:
        of_sdes = ", ".join(sde_solvers.NAMES)
        raise UserError(f"unknown solver {name!r}; known: learned, {', '.join(tableaus.ALL)}; of SDEs {of_sdes}")
    return tableaus.ALL[name]


@dataclass(frozen=True, kw_only=True)
class LearnedOptions:
    """What a learned solver may learn."""

    stages: int | None = None
    """Learned solver: evaluations of the field in one step (default 4)."""
    order: int | None = None
    """Learned solver: the order it keeps, whatever it learns (default 2, at most the stages)."""
    shared: bool = False
    """Learned solver: one set of coefficients for all steps, in place of one for each."""
    equal_steps: bool = False
    """Learned solver: keep its step sizes equal, in place of learning them."""

    def learned(self, stages: int, steps: int) -> LearnedRK:
        """The learned solver of these options with the given budget; training marks the interval that it is for.

        Raises:
            UserError: They cannot be had together.
        """
        if stages < 1:
            raise UserError(f"stages must be >= 1, got {stages}")
        return LearnedRK.like(
            STARTS[min(stages, 4)],  # more stages start at RK4 with further ones of weight zero
            steps,
            stages=stages,
            order=min(2, stages) if self.order is None else self.order,
            per_step=not self.shared,
            learn_steps=not self.equal_steps,
        )


@dataclass(frozen=True, kw_only=True)
class SolverOptions(LearnedOptions):
    """Which solver integrates the field."""

    solver: str = "learned"
    """learned, or a classical one: euler, midpoint, rk4, bosh3, dopri5, tsit5, dopri8, ... A classical pair without
    --steps chooses its own steps. Of an SDE: spark, which chooses its own steps, or with --steps euler-maruyama,
    milstein, stochastic-heun, srk or learned-srk."""
    steps: int | None = None
    """Number of steps (default 2 for a learned solver)."""
    rtol: float = 1e-5
    """Adaptive solver: relative tolerance."""
    atol: float = 1e-5
    """Adaptive solver: absolute tolerance."""
    control: Literal["joint", "per_sample"] = "joint"
    """Adaptive solver: one step size for the whole batch, or one a sample."""
    first_step: float | None = None
    """Adaptive solver: size of the first step (default: Hairer's cautious heuristic). A field that is trained with the
    penalty local-error may well be crossed in one step, if that is tried."""

    @property
    def lacks_steps(self) -> bool:
        """Whether it names a scheme that cannot choose its steps, and no number of them.

        Raises:
            UserError: It names no solver.
        """
        if self.solver in sde_solvers.NAMES:
            return self.steps is None and self.solver not in sde_solvers.ADAPTIVE
        return self.solver != "learned" and self.steps is None and tableau(self.solver).error is None

    def build(self) -> AbstractSolver:
        """The solver of these options.

        Raises:
            UserError: They name none, or contradict each other.
        """
        if self.solver == "learned":
            stages, steps = 4 if self.stages is None else self.stages, 2 if self.steps is None else self.steps
            return self.learned(stages, steps)
        if self.solver in sde_solvers.NAMES:
            return self._of_sdes()
        scheme = tableau(self.solver)
        self._refuse(fields(LearnedOptions), "a learned solver")
        if self.steps is not None:
            return FixedSteps(scheme, self.steps)
        if self.lacks_steps:
            raise UserError(f"{self.solver} has no error estimate to choose steps with: give --steps")
        solver = Adaptive(scheme, self.rtol, self.atol, control=self.control, first_step=self.first_step)
        refuse_low_rtol(self.rtol, np.dtype(np.float32))  # in which the named tasks compute
        return solver

    def _of_sdes(self) -> AbstractSolver:
        """The solver of SDEs of that name."""
        shared = () if self.solver == "learned-srk" else ("shared",)
        learned = [
            option for option in fields(LearnedOptions) if option.name in ("stages", "order", "equal_steps", *shared)
        ]
        self._refuse(learned, "a learned solver")
        own = [option for option in fields(SolverOptions) if option.name in ("control", "first_step")]
        self._refuse(own, "an adaptive solver of ODEs")
        if self.solver in sde_solvers.ADAPTIVE:
            if self.steps is not None:
                fixed = ", ".join(sde_solvers.FIXED)
                raise UserError(f"{self.solver} chooses its steps by --rtol and --atol: for --steps use {fixed}")
            refuse_low_rtol(self.rtol, np.dtype(np.float32))
            return sde_solvers.adaptive(self.solver, self.rtol, self.atol)
        if self.steps is None:
            raise UserError(f"{self.solver} has no error estimate to choose steps with: give --steps")
        return sde_solvers.fixed(self.solver, self.steps, shared=self.shared)

    def _refuse(self, options: Iterable[Field[Any]], whose: str) -> None:
        """Refuse options that are another solver's."""
        other = changed(self, options)
        if other:
            raise UserError(f"{other} belongs to {whose}, not to {self.solver}: leave it out")

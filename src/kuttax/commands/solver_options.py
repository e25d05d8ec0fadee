"""The options that name a solver on the command line."""

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from ..distillation.students import STARTS
from ..errors import UserError
from ..solvers import tableaus
from ..solvers.adaptive import Adaptive, refuse_low_rtol
from ..solvers.base import AbstractSolver
from ..solvers.fixed import FixedSteps
from ..solvers.learned import LearnedRK
from ..solvers.tableaus import Tableau
from .parser import changed


def tableau(name: str) -> Tableau:
    """The classical tableau of that name.

    Raises:
        UserError: There is none.
    """
    if name not in tableaus.ALL:
        raise UserError(f"unknown solver {name!r}; known: learned, {', '.join(tableaus.ALL)}")
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
    --steps chooses its own steps."""
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
        return self.solver != "learned" and self.steps is None and tableau(self.solver).error is None

    def build(self) -> AbstractSolver:
        """The solver of these options.

        Raises:
            UserError: They name none, or contradict each other.
        """
        if self.solver == "learned":
            stages, steps = 4 if self.stages is None else self.stages, 2 if self.steps is None else self.steps
            return self.learned(stages, steps)
        scheme = tableau(self.solver)
        other = changed(self, fields(LearnedOptions))
        if other:
            raise UserError(f"{other} belongs to a learned solver, not to {self.solver}: leave it out")
        if self.steps is not None:
            return FixedSteps(scheme, self.steps)
        if self.lacks_steps:
            raise UserError(f"{self.solver} has no error estimate to choose steps with: give --steps")
        solver = Adaptive(scheme, self.rtol, self.atol, control=self.control, first_step=self.first_step)
        refuse_low_rtol(self.rtol, np.dtype(np.float32))  # in which the named tasks compute
        return solver

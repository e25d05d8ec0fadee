"""The options that name a solver on the command line."""

from dataclasses import dataclass, fields
from typing import Annotated, Literal

import numpy as np

from ...distillation.students import start_of
from ...errors import UserError
from ...options.bounds import above, at_least, check_bounds
from ...options.unused import Unused, unless
from ...solvers import registry as sde_solvers
from ...solvers.base.solver import AbstractSolver
from ...solvers.rk import tableaus
from ...solvers.rk.adaptive.adaptive import Adaptive, refuse_low_rtol
from ...solvers.rk.fixed import FixedSteps
from ...solvers.rk.learned import LearnedRK
from ...solvers.rk.tableaus import Tableau


def tableau(name: str) -> Tableau:
    """The classical tableau with this name.

    Raises:
        UserError: No tableau has this name.
    """
    if name not in tableaus.ALL:
        of_sdes = ", ".join(sde_solvers.NAMES)
        raise UserError(f"unknown solver {name!r}; known: learned, {', '.join(tableaus.ALL)}; of SDEs {of_sdes}")
    return tableaus.ALL[name]


@dataclass(frozen=True, kw_only=True)
class LearnedOptions:
    """What a learned solver may learn."""

    stages: Annotated[int, at_least(1, most=64)] | None = None
    """Learned solver: evaluations of the field in one step (default: 4; in compare, as for
    kuttax fit)."""
    order: Annotated[int, at_least(1, most=64)] | None = None
    """Learned solver: keep at least this order of accuracy, whatever it learns (default: 2, or 1 with one stage)."""
    shared: bool = False
    """Learned solver: use one set of coefficients for all steps, instead of one set for each."""
    equal_steps: bool = False
    """Learned solver: keep all steps equal, instead of learning their sizes."""

    def __post_init__(self):
        check_bounds(self)

    def learned(self, stages: int, steps: int) -> LearnedRK:
        """The learned solver of these options with the given budget; training marks the interval that it is for.

        Raises:
            UserError: They cannot be had together.
        """
        return LearnedRK.from_tableau(
            start_of(stages),
            steps,
            order=min(2, stages) if self.order is None else self.order,
            per_step=not self.shared,
            learn_steps=not self.equal_steps,
        )


LEARNED = tuple(option.name for option in fields(LearnedOptions))
"""The options of a learned solver."""


@dataclass(frozen=True, kw_only=True)
class ClassicalOptions:
    """The classical solver that integrates the field."""

    solver: str = "tsit5"
    """Solve with this classical solver."""
    steps: Annotated[int, at_least(1, most=100_000)] | None = None
    """Take this many steps (default: 2 for a learned solver; adaptive solvers choose their own)."""
    rtol: Annotated[float, above(0, most=1e6)] = 1e-5
    """Adaptive solver: relative tolerance."""
    atol: Annotated[float, at_least(0, most=1e6)] = 1e-5
    """Adaptive solver: absolute tolerance."""
    control: Literal["joint", "per_sample"] = "joint"
    """Adaptive solver: choose one step size for the whole batch (joint), or one for each sample (per_sample)."""
    first_step: Annotated[float, above(0)] | None = None
    """Adaptive solver: try this size for the first step (default: a cautious estimate after Hairer). After training
    with the penalty local-error, one step may cross the whole interval: try its length."""

    def __post_init__(self):
        check_bounds(self)

    @property
    def lacks_steps(self) -> bool:
        """Whether it names a scheme that cannot choose its steps, without a number of steps.

        Raises:
            UserError: It names no solver.
        """
        if self.solver in sde_solvers.NAMES:
            return self.steps is None and self.solver not in sde_solvers.ADAPTIVE
        return self.steps is None and tableau(self.solver).error is None

    def classical(self) -> AbstractSolver:
        """The solver of these options, which is not a learned one.

        Raises:
            UserError: They name none, or contradict each other.
        """
        if self.lacks_steps:
            raise UserError(f"{self.solver} has no error estimate to choose steps with: give --steps")
        if self.solver in sde_solvers.ADAPTIVE and self.steps is not None:
            fixed = ", ".join(sde_solvers.FIXED)
            raise UserError(f"{self.solver} chooses its steps by --rtol and --atol: for --steps use {fixed}")
        if self.solver in sde_solvers.FIXED and self.steps is not None:
            return sde_solvers.fixed(self.solver, self.steps)
        if self.steps is not None:
            return FixedSteps(tableau(self.solver), self.steps)
        refuse_low_rtol(self.rtol, np.dtype(np.float32))  # in which the named tasks compute
        if self.solver in sde_solvers.ADAPTIVE:
            return sde_solvers.adaptive(self.solver, self.rtol, self.atol)
        scheme = tableau(self.solver)
        return Adaptive(scheme, self.rtol, self.atol, control=self.control, first_step=self.first_step)

    def tolerance_unused(self) -> dict[str, Unused]:
        """The options of adaptive solvers that have no effect on this one."""
        tolerances, own = ["rtol", "atol"], ["control", "first_step"]
        if self.solver in sde_solvers.NAMES:
            named, other = f"with --solver {self.solver}", "name spark"
            return unless(self.solver in sde_solvers.ADAPTIVE, tolerances, named, other) | unless(False, own, named)
        named = f"with --solver {self.solver}" + ("" if self.steps is None else f" --steps {self.steps}")
        return unless(self._chooses_steps, tolerances + own, named, "name an adaptive solver (tsit5 without --steps)")

    @property
    def _chooses_steps(self) -> bool:
        return self.solver != "learned" and self.steps is None and not self.lacks_steps


@dataclass(frozen=True, kw_only=True)
class SolverOptions(ClassicalOptions, LearnedOptions):
    """The solver that integrates the field."""

    solver: str = "learned"
    """Solve with this solver. ODE: learned, euler, midpoint, rk4, bosh3, dopri5, tsit5, dopri8, ...; classical solvers
    with an error estimate choose their steps unless you give --steps. SDE: spark, which chooses its steps, or with
    --steps: euler-maruyama, milstein, stochastic-heun, srk, learned-srk."""

    @property
    def lacks_steps(self) -> bool:
        """As for a classical solver; a learned one has a default."""
        return self.solver != "learned" and super().lacks_steps

    def build(self) -> AbstractSolver:
        """The solver of these options.

        Raises:
            UserError: They name none, or contradict each other.
        """
        if self.solver == "learned":
            return self.learned(4 if self.stages is None else self.stages, 2 if self.steps is None else self.steps)
        if self.solver == "learned-srk" and self.steps is not None:
            return sde_solvers.fixed(self.solver, self.steps, shared=self.shared)
        return self.classical()

    def unused(self, *, controlled: bool = False) -> dict[str, Unused]:
        """The options that change nothing beside the others.

        Args:
            controlled: Whether the number of steps changes in training.

        Raises:
            UserError: They name no solver.
        """
        used = {"learned": LEARNED, "learned-srk": ("shared",)}.get(self.solver, ())
        others, named = [name for name in LEARNED if name not in used], f"with --solver {self.solver}"
        one_step = bool(used) and self.steps == 1 and not controlled
        return {
            **self.tolerance_unused(),
            **unless(False, others, named, "" if self.solver in sde_solvers.NAMES else "name --solver learned"),
            **unless(not one_step, [name for name in ("shared", "equal_steps") if name in used], *ONE_STEP),
        }


ONE_STEP = "in a solver of one step", "give it more steps"
"""Why steps that are equal, or share their coefficients, are no others."""

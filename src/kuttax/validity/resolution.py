"""How finely a solver resolves its interval: its number of steps, or its tolerance, and the same solver at another."""

import dataclasses
from typing import Any

from ..errors import UserError
from ..solvers.base.solver import AbstractSolver, title
from ..solvers.diffrax.ode import FromDiffrax
from ..solvers.rk.adaptive import Adaptive
from ..solvers.rk.fixed import AbstractTableSolver, FixedSteps, checked_steps
from ..solvers.rk.learned import LearnedRK
from ..solvers.rk.reversible import Reversible
from ..solvers.sde.fixed_sde import AbstractSDESolver
from .certificate.one_path import with_sde_steps


def steps_of(solver: AbstractSolver) -> int:
    """The number of steps on the interval.

    Raises:
        UserError: It has none that can be changed.
    """
    if isinstance(solver, AbstractTableSolver | Reversible | AbstractSDESolver):
        return solver.steps
    raise UserError(
        f"{title(solver)} has no number of steps that can be controlled: use FixedSteps or LearnedRK, "
        "or control its tolerance (ToleranceControl)"
    )


def order_of(solver: AbstractSolver) -> float:
    """The order p of a solver with a number of steps: its error shrinks as h^p; of an SDE solver the strong one.

    Raises:
        UserError: It has none that is known.
    """
    match solver:
        case Reversible():
            return order_of(solver.solver)
        case FixedSteps():
            return solver.tableau.order
        case LearnedRK():
            return solver.order
        case AbstractSDESolver():
            return solver.strong_order
    raise UserError(f"the order of {title(solver)} is not known: use FixedSteps or LearnedRK")


def with_steps(solver: AbstractSolver, steps: int) -> AbstractSolver:
    """The same scheme with another number of steps; a `LearnedRK` is `resampled`.

    Raises:
        UserError: It has no number of steps, or coefficients that belong to its own, or `steps` is not a whole number
            of at least 1.
    """
    match solver:
        case Reversible():
            return dataclasses.replace(solver, solver=with_steps(solver.solver, steps))
        case FixedSteps():
            return FixedSteps(solver.tableau, steps)
        case LearnedRK():
            return solver.resampled(steps)
        case AbstractSDESolver():
            return with_sde_steps(solver, steps)
    steps_of(solver)
    raise UserError(f"{title(solver)} cannot be given {checked_steps(steps)} steps: use FixedSteps or LearnedRK")


def is_adaptive(solver: AbstractSolver) -> bool:
    """Whether it chooses its steps by a tolerance."""
    return isinstance(solver, Adaptive) or (isinstance(solver, FromDiffrax) and solver.steps is None)


def tolerance_of(solver: AbstractSolver) -> float:
    """The relative tolerance of an adaptive solver.

    Raises:
        UserError: It has none.
    """
    if is_adaptive(solver):
        return float(solver.rtol)  # pyright: ignore[reportAttributeAccessIssue]
    raise UserError(
        f"{title(solver)} has no tolerance to control: use Adaptive, or control its number of steps (StepControl)"
    )


def with_tolerance(solver: AbstractSolver, rtol: float) -> AbstractSolver:
    """The same adaptive solver at another relative tolerance; the absolute one changes by the same factor.

    Raises:
        UserError: It has no tolerance, or this one is not a number above zero.
    """
    factor = rtol / tolerance_of(solver)
    adaptive: Any = solver
    return dataclasses.replace(adaptive, rtol=float(rtol), atol=float(adaptive.atol) * factor)


def size_of(solver: AbstractSolver) -> float:
    """The number of steps, or else the relative tolerance.

    Raises:
        UserError: It has neither.
    """
    return tolerance_of(solver) if is_adaptive(solver) else steps_of(solver)

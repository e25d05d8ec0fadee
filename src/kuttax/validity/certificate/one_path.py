"""OnePath: SDE solvers with different steps on the same Brownian path, so that their outputs can be compared."""

import dataclasses
import math
from collections.abc import Iterator

import diffrax

from ...errors import UserError
from ...solvers.base.solver import AbstractSolver
from ...solvers.diffrax.ode import FromDiffrax
from ...solvers.sde.fixed_sde import AbstractSDESolver
from ...solvers.sde.milstein import Milstein
from ...solvers.sde.srk import SRK

_NOISY = (diffrax.AbstractSRK, diffrax.ItoMilstein, diffrax.StratonovichMilstein, diffrax.EulerHeun)
_TIMES, _LEAST = 32, 1024  # times the own steps, and at least so many, takes the finest reference


def is_noisy(solver: AbstractSolver) -> bool:
    """Whether it solves SDEs alone, on a path that is the same with smaller steps.

    diffrax's path with a given number of steps is another one with another number.
    """
    if isinstance(solver, FromDiffrax) and solver.steps is None:
        return isinstance(solver.solver, _NOISY)
    return isinstance(solver, AbstractSDESolver)


def on_fine_path(solver: AbstractSolver) -> AbstractSolver:
    """The same scheme with the same steps, of an SDE on a path that all references can follow; others as they are.

    That is another path than the solver's own, of the same law.
    """
    if not isinstance(solver, AbstractSDESolver):
        return solver
    return dataclasses.replace(solver, refine=_times(solver) * solver.refine)


def _times(solver: AbstractSDESolver) -> int:
    """A power of two, so that all are on one path with h / 2 and h / 4."""
    return max(_TIMES, 2 ** math.ceil(math.log2(_LEAST / solver.steps)))


def on_one_path(*solvers: AbstractSolver) -> tuple[AbstractSolver, ...]:
    """The same schemes with the same steps, those of SDEs on one path for all: its cells divide every step."""
    noisy = [solver for solver in solvers if isinstance(solver, AbstractSDESolver)]
    cells = math.lcm(*(solver.steps for solver in noisy))
    same = lambda s: dataclasses.replace(s, refine=cells // s.steps) if isinstance(s, AbstractSDESolver) else s
    return tuple(same(solver) for solver in solvers)


def finer_on_path(solver: AbstractSDESolver) -> Iterator[tuple[AbstractSolver, ...]]:
    """The references of an SDE, in their order: of higher strong order where the noise has such, then the own scheme.

    Args:
        solver: The own one, `on_fine_path`.
    """
    half, whole = (solver.finer(times) for times in (_times(solver) // 2, _times(solver)))
    schemes: list[AbstractSDESolver] = [SRK(half.steps, refine=half.refine)] if "ito" in solver.calculi else []
    schemes += [Milstein(whole.steps, refine=whole.refine), half, whole]
    yield from ((scheme,) for scheme in {str(scheme): scheme for scheme in schemes}.values())


def with_sde_steps(solver: AbstractSDESolver, steps: int) -> AbstractSDESolver:
    """The same scheme with another number of steps.

    Raises:
        UserError: Its coefficients belong to its steps.
    """
    rows = len(getattr(solver, "lower", [None]))
    if rows > 1:
        raise UserError("own coefficients a step belong to their steps: use LearnedSRK.like(..., per_step=False)")
    return dataclasses.replace(solver, steps=steps)

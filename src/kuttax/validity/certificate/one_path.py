"""OnePath: SDE solvers with different steps on the same Brownian path, so that their outputs are comparable."""

import math
from collections.abc import Iterator

from ...solvers.base.solver import AbstractSolver
from ...solvers.sde.milstein import Milstein
from ...solvers.sde.srk import SRK

_TIMES, _LEAST = 32, 1024  # the finest reference takes 32 times the own steps, and at least 1024


def on_fine_path(solver: AbstractSolver) -> AbstractSolver:
    """The same scheme with the same steps; for an SDE, on a path that all references can follow.

    That path differs from the solver's own, but has the same law.
    """
    cells = solver.path_cells()
    return solver if cells is None else solver.on_cells(_times(solver) * cells)


def _times(solver: AbstractSolver) -> int:
    """A power of two, so that all solvers are on one path with h / 2 and h / 4."""
    return max(_TIMES, 2 ** math.ceil(math.log2(_LEAST / solver.number_of_steps())))


def on_one_path(*solvers: AbstractSolver) -> tuple[AbstractSolver, ...]:
    """The same schemes with the same steps; those of SDEs on one path, whose cells divide every step."""
    cells = math.lcm(*(solver.number_of_steps() for solver in solvers if solver.path_cells() is not None))
    return tuple(solver.on_cells(cells) for solver in solvers)


def finer_on_path(solver: AbstractSolver) -> Iterator[tuple[AbstractSolver, ...]]:
    """The references of an SDE, in order: schemes of higher strong order if the noise allows them, then the own scheme.

    Args:
        solver: The own solver, after `on_fine_path`.
    """
    cells, finest = solver.path_cells(), _times(solver)
    assert cells is not None
    half, fine = (solver.refined(times, None).solver for times in (finest // 2, finest))
    assert half is not None and fine is not None
    schemes: list[AbstractSolver] = [SRK(half.number_of_steps())] if "ito" in solver.sde_calculi() else []
    schemes = [scheme.on_cells(cells) for scheme in (*schemes, Milstein(fine.number_of_steps()))] + [half, fine]
    yield from ((scheme,) for scheme in {str(scheme): scheme for scheme in schemes}.values())

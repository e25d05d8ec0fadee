"""Reference: solvers of other families at a tight tolerance, that stand for the exact solution."""

from collections.abc import Iterator
from typing import Any

import diffrax
import jax
import jax.numpy as jnp

from ..errors import UserError
from ..solvers.adaptive import Adaptive
from ..solvers.base import AbstractSolver, Derivative, Problem
from ..solvers.diffrax import FromDiffrax
from ..solvers.fixed_sde import AbstractSDESolver
from ..solvers.solution import Solution
from ..solvers.tableaus import DOPRI8, TSIT5
from .finer import tighter
from .one_path import finer_on_path, is_noisy

NEEDED = 2
"""How many references have to reach the end and to agree."""

_TIGHTER = (100.0, 30.0)  # times, where diffrax adapts the steps of an SDE: their number grows as fast
_LARGEST_IMPLICIT = 1024  # entries of the state: an implicit step factorises a matrix of that many rows


class Implicit(AbstractSolver):
    """An implicit diffrax solver, for states that are small enough: it makes the Jacobian of the whole batch.

    Attributes:
        solver: What solves.
    """

    solver: FromDiffrax

    def check(self, problem: Problem) -> None:
        entries = sum(leaf.size for leaf in jax.tree.leaves(problem.y0))
        if entries > _LARGEST_IMPLICIT:
            raise UserError(
                f"an implicit reference of {entries} entries would cost too much (at most {_LARGEST_IMPLICIT}): "
                "certify fewer samples"
            )
        self.solver.check(problem)

    def run(self, problem: Problem, derivative: Derivative) -> Solution:
        return self.solver.run(problem, derivative)

    def __str__(self) -> str:
        return str(self.solver)


def tolerances(dtype: Any) -> tuple[float, float]:
    """The tolerance of a reference, and the looser one to fall back on where that one fails."""
    return (1e-6, 1e-4) if jnp.finfo(dtype).bits <= 32 else (1e-9, 1e-6)


def families(own: AbstractSolver, dtype: Any, tolerance: float | None = None) -> Iterator[tuple[AbstractSolver, ...]]:
    """The references in their order, each as it is to be tried: at the tight tolerance, then at the looser one.

    Tsit5 and Dopri8 come first. Kvaerno5 and Kvaerno3 are for fields so stiff that the explicit ones fail. Those of an
    SDE are finer steps on its path (`finer_on_path`), or, where diffrax adapts them, the own scheme at tighter
    tolerances.

    Args:
        own: The model's solver.
        dtype: In which the model computes.
        tolerance: Of an ODE's, the only one to be tried; None for `tolerances(dtype)`.
    """
    if isinstance(own, AbstractSDESolver):
        yield from finer_on_path(own)
        return
    if isinstance(own, FromDiffrax) and is_noisy(own):
        found = (tighter(own, factor, dtype).solver for factor in _TIGHTER)
        yield from ((solver,) for solver in found if solver is not None)
        return
    tried = tolerances(dtype) if tolerance is None else (tolerance,)
    for tableau in (TSIT5, DOPRI8):
        yield tuple(Adaptive(tableau, tol, tol) for tol in tried)
    for solver in (diffrax.Kvaerno5(), diffrax.Kvaerno3()):
        yield tuple(Implicit(FromDiffrax(solver, tol, tol)) for tol in tried)

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
from ..solvers.solution import Solution
from ..solvers.tableaus import DOPRI8, TSIT5

NEEDED = 2
"""How many references have to reach the end and to agree."""

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


def families(dtype: Any, tolerance: float | None = None) -> Iterator[tuple[AbstractSolver, ...]]:
    """The references in their order, each as it is to be tried: at the tight tolerance, then at the looser one.

    Tsit5 and Dopri8 come first. Kvaerno5 and Kvaerno3 are for fields so stiff that the explicit ones fail.

    Args:
        dtype: In which the model computes.
        tolerance: The only one to be tried; None for `tolerances(dtype)`.
    """
    tried = tolerances(dtype) if tolerance is None else (tolerance,)
    for tableau in (TSIT5, DOPRI8):
        yield tuple(Adaptive(tableau, tol, tol) for tol in tried)
    for solver in (diffrax.Kvaerno5(), diffrax.Kvaerno3()):
        yield tuple(Implicit(FromDiffrax(solver, tol, tol)) for tol in tried)

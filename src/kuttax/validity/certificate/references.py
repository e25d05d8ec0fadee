"""Reference: solvers of other families at a tight tolerance, which approximate the exact solution."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ...errors import UserError
from ...solvers.base.problem import Derivative, Problem
from ...solvers.base.solution import Solution
from ...solvers.base.solver import AbstractSolver, Feature
from ...solvers.diffrax.ode import FromDiffrax
from ...solvers.rk.adaptive.adaptive import Adaptive
from ...solvers.rk.tableaus import DOPRI8, TSIT5
from .one_path import finer_on_path

NEEDED = 2
"""The number of references that must reach the end and agree."""

_TIGHTER = (100.0, 30.0)  # factors, if diffrax adapts the steps of an SDE: the number of steps grows as fast
_LARGEST_IMPLICIT = 1024  # entries of the state: an implicit step factorises a matrix with that many rows
_ROOM = 4  # a largest step uses at most 1 / 4 of the steps that a solve may try


class Reference(AbstractSolver):
    """An adaptive solver whose steps are at most a given fraction of the interval.

    An error estimate sees nothing between the stages of a step: without the limit, a step could jump over a short
    feature, such as a pulse of an input.

    Attributes:
        solver: The solver inside.
        least_steps: No step is longer than 1 / least_steps of the interval. Solves with a small `max_steps` use fewer.
        most_entries: Largest state for a solver that builds the Jacobian of the whole batch; None for no limit.
    """

    solver: Adaptive | FromDiffrax
    least_steps: int = eqx.field(static=True)
    most_entries: int | None = eqx.field(static=True, default=None)

    def check(self, problem: Problem) -> None:
        entries = sum(leaf.size for leaf in jax.tree.leaves(problem.y0))
        if self.most_entries is not None and entries > self.most_entries:
            raise UserError(
                f"an implicit reference of {entries} entries would cost too much (at most {self.most_entries}): "
                "certify fewer samples"
            )
        self._for(problem).check(problem)

    def takes(self) -> frozenset[Feature]:
        return self.solver.takes()

    def _for(self, problem: Problem) -> Any:
        """The solver; where samples have times or events of their own, each with its own steps."""
        own = problem.own_times or (problem.batched and bool(problem.events))
        return self.solver.with_own_steps() if own else self.solver

    def run(self, problem: Problem, derivative: Derivative) -> Solution:
        solver = self._for(problem)
        if solver.max_step is None:
            steps = max(1, min(self.least_steps, problem.max_steps // _ROOM))
            solver = dataclasses.replace(solver, max_step=self._longest(problem) / steps)
        return solver.run(problem, derivative)

    def _longest(self, problem: Problem) -> Array:
        """The length of the interval, or of each sample's; for an empty one, any number that is not zero."""
        length = jax.lax.stop_gradient(jnp.abs(problem.t1 - problem.t0))
        return jnp.where(length > 0, length, jnp.ones_like(length))

    def __str__(self) -> str:
        return str(self.solver)


def note_of(solver: AbstractSolver) -> str:
    """A certificate's note on a reference's steps."""
    if isinstance(solver, Reference) and solver.solver.max_step is None:
        return f"no step longer than 1/{solver.least_steps} of the interval"
    return ""


def without_limit(solver: AbstractSolver) -> AbstractSolver:
    """The solver inside a reference, without the step limit; any other solver unchanged."""
    return solver.solver if isinstance(solver, Reference) else solver


def tolerances(dtype: Any) -> tuple[float, float]:
    """The tolerance of a reference, and a looser one for a second attempt."""
    return (1e-6, 1e-4) if jnp.finfo(dtype).bits <= 32 else (1e-9, 1e-6)


def families(
    own: AbstractSolver, dtype: Any, tolerance: float | None = None, max_step: float | None = None
) -> Iterator[tuple[AbstractSolver, ...]]:
    """The references in order, each with its attempts: at the tight tolerance, then at the looser one.

    Tsit5 and Dopri8 come first. Kvaerno5 and Kvaerno3 are for fields so stiff that the explicit ones fail. The
    references of an SDE are finer steps on its path (`finer_on_path`), or, if diffrax adapts them, the own scheme at
    tighter tolerances.

    Args:
        own: The model's solver.
        dtype: The dtype in which the model computes.
        tolerance: For an ODE, the only tolerance to try; None for `tolerances(dtype)`.
        max_step: For an ODE, the largest step in the unit of time; None for a fraction of the interval.
    """
    if own.path_cells() is not None:
        yield from finer_on_path(own)
        return
    if own.keeps_path():
        found = (own.tightened(factor, dtype).solver for factor in _TIGHTER)
        yield from ((solver,) for solver in found if solver is not None)
        return
    tried = tolerances(dtype) if tolerance is None else (tolerance,)
    for tableau, least in ((TSIT5, 64), (DOPRI8, 32)):  # less than 1 % of the interval lies between two stages
        yield tuple(Reference(Adaptive(tableau, tol, tol, max_step=max_step), least) for tol in tried)
    for solver in (diffrax.Kvaerno5(), diffrax.Kvaerno3()):
        implicit = lambda tol: FromDiffrax(solver, tol, tol, max_step=max_step)  # noqa: B023
        yield tuple(Reference(implicit(tol), 64, _LARGEST_IMPLICIT) for tol in tried)

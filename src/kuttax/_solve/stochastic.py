"""Checks of `solve` for an SDE."""

from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from ..adjoints.backsolve import BacksolveAdjoint
from ..errors import UserError
from ..penalties.base import terms_of
from ..solvers.base.problem import Problem
from ..solvers.base.solution import Status
from ..solvers.base.solver import AbstractSolver

_NO_CELL = np.uint32(2**32 - 1)  # cells of a path have 31-bit numbers


def check_stochastic(
    problem: Problem, solver: AbstractSolver, adjoint: Any, penalty: Any, ends: tuple[float, float] | None
) -> None:
    """Check all that is known at trace time; `ends` are t0 and t1, None if they are not known.

    Raises:
        UserError: An argument does not fit an SDE, or there is no key.
    """
    if not solver.solves_sdes:
        known = "EulerMaruyama, Milstein, StochasticHeun, SRK or FromDiffrax(diffrax.ShARK())"
        raise UserError(f"{type(solver).__name__} solves ODEs: for an SDE use {known}")
    if problem.key is None:
        raise UserError("an SDE draws at random: give solve a key, e.g. key=jax.random.key(0)")
    if isinstance(adjoint, BacksolveAdjoint):
        raise UserError("BacksolveAdjoint is for ODEs: with an SDE use DiscreteAdjoint, or leave adjoint out")
    for _, part in () if penalty is None else terms_of(penalty):
        if not part.of_sdes:
            raise UserError(f"{type(part).__name__} is for ODEs: with an SDE use LocalError, or GlobalError")
    if ends is not None and ends[1] < ends[0]:
        raise UserError(f"{Status.reversed_noise.message}, got t0={ends[0]}, t1={ends[1]}")


def penalty_key(key: PRNGKeyArray) -> PRNGKeyArray:
    """The key of the penalties. It differs from all noise keys, so that the path is the same without a penalty."""
    return jax.random.fold_in(key, _NO_CELL)

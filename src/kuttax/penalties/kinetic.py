"""Kinetic: the kinetic energy of the trajectories (RNODE; Finlay, Jacobsen, Nurbekyan & Oberman, ICML 2020)."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._types import State
from ..solvers.base.problem import Problem
from ..solvers.base.solver import AbstractSolver
from .base import AbstractPenalty, Integrand, Observation, Request


class Kinetic(AbstractPenalty):
    """The integral of |f|^2 over time, the mean over samples (Finlay et al. 2020, eq. 6).

    |.|^2 is the sum over one sample's entries; without a `batch_axis` the whole state is one sample.
    """

    def request(self, problem: Problem, solver: AbstractSolver, key: Any) -> Request:
        del problem, solver, key
        return Request(integrand=Integrand(lambda field, t, y, dy, args, noise: square(dy)))

    def value(self, seen: Observation) -> Array:
        return along(seen)


def square(tree: State) -> Array:
    """The sum of the squares of all entries."""
    first, *others = (jnp.sum(jnp.square(x)) for x in jax.tree.leaves(tree))
    return sum(others, start=first)


def along(seen: Observation) -> Array:
    """The integral from the earlier to the later end time, the mean over samples."""
    assert seen.integral is not None
    return jnp.mean(seen.integral * seen.problem.direction)

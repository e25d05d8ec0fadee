"""PathLength: the length of the trajectories."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from ..solvers.base.problem import Problem
from ..solvers.base.solver import AbstractSolver
from .base import AbstractPenalty, Integrand, Observation, Request
from .kinetic import along, square


class PathLength(AbstractPenalty):
    """The integral of |f| over time: the length of a trajectory, the mean over samples.

    The length does not depend on the speed along a trajectory; `Kinetic` also prefers a uniform speed. |.| is the
    Euclidean norm of one sample's entries; without a `batch_axis` the whole state is one sample.
    """

    def request(self, problem: Problem, solver: AbstractSolver, key: Any) -> Request:
        del problem, solver, key
        return Request(integrand=Integrand(lambda field, t, y, dy, args, noise: _norm(square(dy))))

    def value(self, seen: Observation) -> Array:
        return along(seen)


def _norm(squares: Array) -> Array:
    """The square root, with derivative zero where the field is zero."""
    still = squares == 0
    return jnp.where(still, 0, jnp.sqrt(jnp.where(still, 1, squares)))

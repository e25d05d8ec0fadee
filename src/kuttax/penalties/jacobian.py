"""JacobianFrobenius: how strongly the field separates neighbouring states (RNODE; Finlay et al., ICML 2020)."""

from typing import Any

import jax
from jaxtyping import Array

from ..solvers.base.problem import Problem
from ..solvers.base.solver import AbstractSolver
from .base import AbstractPenalty, Integrand, Observation, Request, needs_key
from .kinetic import along, square


class JacobianFrobenius(AbstractPenalty):
    """The integral of |eps^T df/dy|^2 over time, whose mean over eps ~ N(0, 1) is |df/dy|_F^2 (Finlay et al., eq. 7).

    The noise is drawn once for a solve, for each sample (Hutchinson's estimator), so that the integrand is smooth. It
    costs one vector-Jacobian product for every evaluation of the field.
    """

    def request(self, problem: Problem, solver: AbstractSolver, key: Any) -> Request:
        del solver
        leaves, structure = jax.tree.flatten(problem.y0)
        keys = jax.random.split(needs_key(self, key), len(leaves))
        noise = [jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
        return Request(integrand=Integrand(_rate, jax.tree.unflatten(structure, noise)))

    def value(self, seen: Observation) -> Array:
        return along(seen)


def _rate(field, t, y, dy, args, noise) -> Array:
    del dy
    _, back = jax.vjp(lambda y: field(t, y, args), y)
    return square(back(noise)[0])

"""Taylor: high derivatives of the solution in time (TayNODE; Kelly, Bettencourt, Johnson & Duvenaud, NeurIPS 2020)."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..errors import UserError
from ..solvers.base.problem import Problem
from ..solvers.base.solver import AbstractSolver
from .base import AbstractPenalty, Integrand, Observation, Request
from .kinetic import along, square


class Taylor(AbstractPenalty):
    """R_K, the integral of |d^K y / dt^K|^2 over time, the mean over samples (Kelly et al. 2020, eq. 1).

    By nested Jacobian-vector products: d^{k+1} y / dt^{k+1} is the derivative of d^k y / dt^k along (1, f). Each order
    about doubles the cost of an evaluation.

    Attributes:
        order: K, from 1 to 3.

    Raises:
        UserError: The order is not 1, 2 or 3.
    """

    order: int = eqx.field(static=True, default=3)

    def __check_init__(self):
        if self.order not in (1, 2, 3):
            raise UserError(f"order must be 1, 2 or 3, got {self.order!r}: higher ones cost more than they save")

    def request(self, problem: Problem, solver: AbstractSolver, key: Any) -> Request:
        del problem, solver, key
        return Request(integrand=Integrand(self._rate))

    def value(self, seen: Observation) -> Array:
        return along(seen)

    def _rate(self, field, t, y, dy, args, noise) -> Array:
        del dy, noise
        slope = lambda t, y: field(t, y, args)
        derivative = slope
        for _ in range(self.order - 1):
            derivative = _along_solution(derivative, slope)
        return square(derivative(t, y))


def _along_solution(of, field):
    """The time derivative of of(t, y) along dy/dt = field(t, y)."""
    return lambda t, y: jax.jvp(of, (t, y), (jnp.ones_like(t), field(t, y)))[1]

"""Steer: a random end time (Ghosh, Behl, Dupont, Torr & Namboodiri, NeurIPS 2020)."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._types import Time
from ..errors import UserError
from ..solvers.base.numbers import number
from ..solvers.base.problem import Problem
from ..solvers.base.solver import AbstractSolver
from .base import AbstractEnding, Observation, Request, needs_key


class Steer(AbstractEnding):
    """Solve up to T ~ U(t1 - b, t1 + b) in place of t1; the penalty itself is zero (Ghosh et al. 2020, eq. 4).

    For training only: `y1` is then the state at T.

    Attributes:
        width: b, in units of time; less than |t1 - t0|.
    """

    of_sdes: ClassVar[bool] = True
    width: Any = eqx.field(converter=number("width"), default=0.5)

    def end(self, problem: Problem, key: Any) -> Time:
        if problem.ts is not None:
            raise UserError("Steer moves the end of the solve, so that ts may lie beyond it: leave ts out, or Steer")
        t0, t1 = problem.t0, problem.t1
        farthest = 0.999 * jnp.abs(t1 - t0)  # the end must stay after the start
        width = jnp.minimum(jnp.asarray(self.width, t1.dtype), farthest)
        return t1 + width * jax.random.uniform(needs_key(self, key), (), t1.dtype, -1, 1)

    def request(self, problem: Problem, solver: AbstractSolver, key: Any) -> Request:
        del problem, solver, key
        return Request()

    def value(self, seen: Observation) -> Array:
        return jnp.zeros((), seen.problem.t0.dtype)

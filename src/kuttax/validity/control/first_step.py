"""FirstStep: the number of steps that Hairer's heuristic would start with, from a model's own prediction."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ...errors import UserError
from ...solvers.base.problem import Derivative, Problem
from ...solvers.base.solution import Solution, Stats, Status
from ...solvers.base.solver import AbstractSolver
from ...solvers.rk.adaptive.adaptive import Adaptive
from ...solvers.rk.controller import initial_step, rms
from ...solvers.rk.tableaus import HEUN2


class FirstStep(AbstractSolver):
    """Solves nothing; `stats.accepted` is the number of steps of Hairer's starting step size on the interval.

    See Hairer, Norsett & Wanner I, II.4. Ott et al. (ICLR 2021, arXiv 2007.15386) start with it.

    Attributes:
        order: The order of the scheme that will take the steps.
        tol: Relative and absolute tolerance; Ott et al. do not state theirs.
    """

    order: float = eqx.field(static=True)
    tol: float = eqx.field(static=True, default=1e-3)

    def check(self, problem: Problem) -> None:
        del problem  # any problem works

    def run(self, problem: Problem, derivative: Derivative) -> Solution:
        field, span = problem.vector_field(), problem.t1 - problem.t0
        f = lambda t, y: field(t, y, problem.args)
        controller = Adaptive(HEUN2, self.tol, self.tol).controller(jnp.result_type(problem.t0))
        slope = f(problem.t0, problem.y0)
        norm = lambda state: rms(problem.measured(state), False)
        h = initial_step(f, problem.t0, problem.y0, slope, span, controller, self.order + 1, norm)
        steps = jnp.ceil(jnp.minimum(jnp.abs(span) / h, 1e6)).astype(jnp.int32)
        ys = None
        if problem.ts is not None:
            ys = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(problem.ts), *x.shape)), problem.y0)
        two, none = jnp.asarray(2), jnp.zeros_like(steps)
        return Solution(problem.y0, ys, Stats(two, steps, none, two), jnp.asarray(int(Status.ok), jnp.int32))


def first_steps(predict: Any, batch: Any, order: float, most: int) -> int:
    """The number of steps that Hairer's heuristic starts with, 1 to `most`.

    Args:
        predict: `predict(solver, batch)`, whose result has the `stats` of the solve.
        batch: The batch whose initial states to use.
        order: The order of the scheme.
        most: The largest answer.

    Raises:
        UserError: The prediction has no stats of the solve.
    """
    stats = predict(FirstStep(order), batch).stats
    if stats is None or stats.accepted is None:
        raise UserError("the task's prediction says nothing of its steps, so that none can be proposed: give --steps")
    return min(max(1, math.ceil(float(jnp.max(stats.accepted)))), most)

"""BacksolveAdjoint: the continuous adjoint equation, solved backwards."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .._types import State
from ..errors import UserError
from ..solvers.base.closure import converted, cotangent, parameters, with_parameters
from ..solvers.base.once import once
from ..solvers.base.problem import Problem
from ..solvers.base.solution import Solution, Status
from ..solvers.base.solver import AbstractSolver, check_solver
from ..solvers.leaves import trainable
from .base import AbstractAdjoint


class BacksolveAdjoint(AbstractAdjoint):
    """The adjoint ODE of Chen et al. (2018): memory independent of the number of steps, an inexact gradient.

    Solves dy/dt = f, da/dt = -a df/dy, dg/dt = -a df/dp backwards from t1 ("optimise, then discretise"). At every time
    of `ts` the state is set to the saved one, and a jumps by the output's cotangent. The error norm leaves g out
    (Kidger et al. 2021, arXiv 2009.09457). If the backward solve fails, the gradient is NaN.

    Attributes:
        solver: Solves the adjoint equation; None for the forward solver, under joint control.

    Raises:
        UserError: `solver` is no solver.
    """

    solver: AbstractSolver | None = None

    def __check_init__(self):
        if self.solver is not None:
            check_solver(self.solver)

    def run(self, solver: AbstractSolver, problem: Problem) -> Solution:
        if any(jax.tree.leaves(trainable((solver, self.solver)))):
            raise UserError("BacksolveAdjoint knows nothing of a learned tableau: use DiscreteAdjoint with LearnedRK")
        backward = solver if self.solver is None else self.solver
        sol = _solve(converted(problem), *jax.lax.stop_gradient((solver, backward.with_joint_steps())))
        return dataclasses.replace(sol, stats=dataclasses.replace(sol.stats, nfe_backward=None))


@eqx.filter_custom_vjp
def _solve(problem: Problem, solver: AbstractSolver, backward: AbstractSolver) -> Solution:
    del backward
    return solver.run(problem, "none")


@_solve.def_fwd
def _forward(perturbed, problem: Problem, solver: AbstractSolver, backward: AbstractSolver):
    del backward
    sol = solver.run(problem, "none")
    return once((sol, (sol.y1, sol.ys, perturbed)))  # in the residuals `perturbed` stays static


@_solve.def_bwd
def _backward(kept, cotangents: Solution, _, problem: Problem, solver: Any, backward: AbstractSolver):
    del solver
    y1, ys, moved = kept
    augmented = _Backward(problem, moved, backward)
    zeros = lambda tree: jax.tree.map(jnp.zeros_like, tree)
    field = problem.vector_field()
    a = eqx.combine(cotangents.y1, zeros(y1))
    dt1 = _dot(a, field(problem.t1, y1, problem.args))
    carry = augmented.begin(y1, a)
    if problem.ts is None:
        dts, last = None, problem.t1
    else:
        carry, dts = _through_outputs(augmented, carry, ys, eqx.combine(cotangents.ys, zeros(ys)))
        last = problem.ts[0]
    (_, a, g), sound = augmented.cross(carry, last, problem.t0)
    dt0 = -_dot(a, field(problem.t0, problem.y0, problem.args))
    result = (a, g, dt0, dt1, dts)
    a, g, dt0, dt1, dts = jax.tree.map(lambda x: jnp.where(sound, x, jnp.nan), result)
    return once(cotangent(problem, parameters=g, y0=a, t0=dt0, t1=dt1, ts=dts))


class _Backward(eqx.Module):
    """The augmented problem: state, adjoint, and the gradient summed so far."""

    problem: Problem
    moved: Problem = eqx.field(static=True)
    solver: AbstractSolver

    def begin(self, y1: State, a: State):
        varied, _ = parameters(self.problem, self.moved)
        return (y1, a, jax.tree.map(jnp.zeros_like, varied)), jnp.asarray(True)

    def cross(self, carry, t_from, t_to):
        """Carry (y, a, g) from one time to an earlier one; also returns whether all solves so far succeeded."""
        state, sound = carry
        problem = Problem(
            self._augmented,
            state,
            t_from,
            t_to,
            args=(self.problem.field, self.problem.args),
            max_steps=self.problem.max_steps,
            measured=_state_and_adjoint,
        )
        sol = self.solver.run(problem, "none")
        return sol.y1, sound & (sol.status == int(Status.ok))

    def _augmented(self, t, state, args):
        y, a, _ = state
        field, args = args
        varied, rest = parameters(dataclasses.replace(self.problem, field=field, args=args), self.moved)

        def f(varied, y):
            problem = with_parameters(self.problem, varied, rest)
            return problem.vector_field()(t, y, problem.args)

        dy, back = jax.vjp(f, varied, y)
        dg, da = back(a)
        return dy, jax.tree.map(jnp.negative, da), jax.tree.map(jnp.negative, dg)


def _state_and_adjoint(state):
    return state[:2]


def _through_outputs(augmented: _Backward, carry, ys: State, cotangents: State):
    """From t1 back to ts[0], with a jump of the adjoint at every output."""
    problem = augmented.problem
    assert problem.ts is not None
    field = problem.vector_field()
    starts = jnp.concatenate([problem.ts[1:], problem.t1[None]])

    def back(carry, output):
        start, t, y, jump = output
        (_, a, g), sound = augmented.cross(carry, start, t)
        a = jax.tree.map(jnp.add, a, jump)
        return ((y, a, g), sound), _dot(jump, field(t, y, problem.args))

    return jax.lax.scan(back, carry, (starts, problem.ts, ys, cotangents), reverse=True)


def _dot(a: State, b: State):
    """The inner product of two states."""
    return sum(jnp.sum(x * y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))

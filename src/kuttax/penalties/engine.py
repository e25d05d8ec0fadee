"""A solve with penalties: it adds their requests to the problem, and gives the records back to them."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .._types import VectorField
from ..adjoints.backsolve import BacksolveAdjoint
from ..adjoints.base import AbstractAdjoint
from ..errors import UserError
from ..solvers.base.pick import Pick, Picked, Recorded
from ..solvers.base.problem import Problem
from ..solvers.base.solution import Solution, Status
from ..solvers.base.solver import AbstractSolver
from .base import AbstractEnding, AbstractPenalty, Integrand, Observation, Request, terms_of


def solve_penalised(
    problem: Problem, solver: AbstractSolver, adjoint: AbstractAdjoint, penalty: Any, key: Any
) -> Solution:
    """The solution of `problem` with its penalty, from one solve; NaN if the solve failed."""
    weights, parts = zip(*terms_of(penalty), strict=True)
    keys = _keys(key, len(parts))
    problem = _with_end(problem, parts, keys)
    asks = [part.request(problem, solver, own) for part, own in zip(parts, keys, strict=True)]
    for part, ask in zip(parts, asks, strict=True):
        _check_adjoint(adjoint, part, ask)
    watching, integrands = _watching(problem, asks)
    sol = adjoint.run(solver, watching)
    sol, integrals = _without_integrals(sol, integrands)
    costs, picked = iter(sol.recorded.costs), iter(sol.recorded.picked)
    total = jnp.zeros((), problem.t0.dtype)
    for weight, part, ask, own in zip(weights, parts, asks, keys, strict=True):
        seen = Observation(
            problem,
            solver,
            None if ask.cost is None else next(costs),
            None if ask.integrand is None else next(integrals),
            None if ask.pick is None else _held(ask.pick, next(picked)),
            own,
        )
        total = total + jnp.asarray(weight, total.dtype) * part.value(seen)
    reached = jnp.all(sol.status == int(Status.ok))
    return dataclasses.replace(sol, recorded=Recorded(), penalty=jnp.where(reached, total, jnp.nan))


def _keys(key: Any, count: int) -> list[Any]:
    """A key for each of `count` penalties; None if there is none."""
    return [None] * count if key is None else list(jax.random.split(key, count))


def _with_end(problem: Problem, parts: tuple[AbstractPenalty, ...], keys: list[Any]) -> Problem:
    """`problem` with the end time of the penalty that changes it, if there is one."""
    ends = [(part, key) for part, key in zip(parts, keys, strict=True) if isinstance(part, AbstractEnding)]
    if not ends:
        return problem
    if len(ends) > 1:
        raise UserError("two penalties move the end of the solve: keep one Steer")
    part, key = ends[0]
    return dataclasses.replace(problem, t1=part.end(problem, key), saves_end=False)


def _held(pick: Pick, picked: Picked) -> Picked:
    """The picked values; time and size are constants under differentiation, and the state too unless `pick.moves`."""
    hold = jax.lax.stop_gradient
    return Picked(hold(picked.t), picked.y if pick.moves else hold(picked.y), hold(picked.h), picked.step)


def _check_adjoint(adjoint: AbstractAdjoint, part: AbstractPenalty, ask: Request) -> None:
    """Refuse a penalty whose gradient the adjoint would omit."""
    if ask.otherwise is not None and isinstance(adjoint, BacksolveAdjoint):
        name = type(part).__name__
        raise UserError(
            f"the gradient of {name} runs through the solver's steps, of which BacksolveAdjoint knows nothing: "
            f"use DiscreteAdjoint, or {ask.otherwise}"
        )


class _WithIntegrals(eqx.Module):
    """The field of the state together with the integrals."""

    field: VectorField
    rates: tuple[Any, ...]

    def __call__(self, t, state, args):
        (y, _), (args, noises) = state, args
        dy = self.field(t, y, args)
        rates = [rate(self.field, t, y, dy, args, noise) for rate, noise in zip(self.rates, noises, strict=True)]
        return dy, tuple(rates)


def _watching(problem: Problem, asks: list[Request]) -> tuple[Problem, list[Integrand]]:
    """`problem` with all requests of the penalties, and the integrands."""
    costs = tuple(ask.cost for ask in asks if ask.cost is not None)
    picks = tuple(ask.pick for ask in asks if ask.pick is not None)
    problem = dataclasses.replace(problem, costs=costs, picks=picks)
    integrands = [ask.integrand for ask in asks if ask.integrand is not None]
    if not integrands:
        return problem, []
    shape = (problem.samples,) if problem.batched else ()
    zeros = tuple(jnp.zeros(shape, problem.t0.dtype) for _ in integrands)
    measured = problem.measured
    noises = tuple(integrand.noise for integrand in integrands)
    problem = dataclasses.replace(
        problem,
        field=_WithIntegrals(problem.field, tuple(integrand.rate for integrand in integrands)),
        y0=(problem.y0, zeros),
        args=(problem.args, noises),
        args_axes=(problem.args_axes, 0),
        measured=lambda state: measured(state[0]),
    )
    return problem, integrands


def _without_integrals(sol: Solution, integrands: list[Integrand]):
    """The solution of the state only, and the integrals at t1."""
    if not integrands:
        return sol, iter(())
    (y1, integrals), ys = sol.y1, sol.ys if sol.ys is None else sol.ys[0]
    picked = tuple(one._replace(y=one.y[0]) for one in sol.recorded.picked)
    sol = dataclasses.replace(sol, y1=y1, ys=ys, recorded=sol.recorded._replace(picked=picked))
    return sol, iter(integrals)

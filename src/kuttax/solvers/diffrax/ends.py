"""Events and dense output of a solve by diffrax, in kuttax's own form."""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import optimistix

from ..._types import State, Time
from ...errors import UserError
from ..base.dense import AbstractDense
from ..base.problem import Problem
from ..base.solution import Happened

_DIRECTIONS = {1: True, -1: False, 0: None}


def diffrax_event(problem: Problem) -> diffrax.Event | None:
    """The event of `problem` for diffrax, whose time is found by bisection on its dense output; None if there is none.

    Raises:
        UserError: There are several: diffrax's root finder takes one.
    """
    if not problem.events:
        return None
    if len(problem.events) > 1:
        raise UserError(f"FromDiffrax takes one event, got {len(problem.events)}: use Adaptive, which takes several")
    event: Any = problem.events[0]  # pyright: ignore[reportGeneralTypeIssues]
    condition = problem.mapped(event.condition)
    fine = 4 * float(jnp.finfo(problem.t0.dtype).eps)
    finder = _ToTheLastDigit(rtol=fine, atol=float(jnp.finfo(problem.t0.dtype).tiny), flip="detect")
    return diffrax.Event(lambda t, y, args, **_: condition(t, y, args), finder, _DIRECTIONS[event.direction])


class _ToTheLastDigit(optimistix.Bisection):
    """Bisection that ends once the interval is short; optimistix also asks for a small value, whose unit is unknown."""

    def terminate(self, fn: Any, y: Any, args: Any, options: Any, state: Any, tags: Any) -> tuple[Any, Any]:
        del fn, args, options, tags
        width = jnp.abs(state.lower - state.upper)
        return width <= self.atol + self.rtol * jnp.abs(y), optimistix.RESULTS.successful


def happened(problem: Problem, result: diffrax.Solution, y1: State) -> tuple[Happened | None, State]:
    """The event that ended the solve, and the state at its time, for a constant time under differentiation."""
    if not problem.events:
        return None, y1
    found = jnp.asarray(result.event_mask)
    t = jax.tree.leaves(result.ts)[0][0]
    fixed = jax.lax.stop_gradient(t)
    slope = jax.lax.stop_gradient(problem.vector_field()(fixed, y1, problem.args))
    moved = jax.tree.map(lambda y, f: jnp.where(found, y - (t - fixed) * f, y), y1, slope)
    index = jnp.where(found, 0, -1).astype(jnp.int32)
    return Happened(index, jnp.where(found, fixed, problem.t1)), moved


class DiffraxDense(AbstractDense):
    """The dense output of a solve by diffrax.

    Attributes:
        inside: diffrax's own.
    """

    inside: Any

    def value(self, since: Time) -> State:
        return self.inside.evaluate(since)

    def slope(self, since: Time) -> State:
        return self.inside.derivative(since)

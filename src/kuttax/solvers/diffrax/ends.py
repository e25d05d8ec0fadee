"""Events and dense output of a solve by diffrax, in kuttax's own form."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix
from jax.typing import ArrayLike
from jaxtyping import Array

from ..._types import State
from ...errors import UserError
from ..base.solution import Happened
from ..base.solver import Problem

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


class DiffraxDense(eqx.Module):
    """The dense output of a solve by diffrax, as `DenseOutput`.

    Attributes:
        inside: diffrax's own.
        origin: The user's t0, which elapsed times count from.
        t0, t1: The ends of the solution, elapsed.
    """

    inside: Any
    origin: Any
    t0: Any
    t1: Any

    def evaluate(self, t: ArrayLike) -> State:
        """The state at t; NaN outside of the solved interval."""
        return self._at(t, self.inside.evaluate)

    def derivative(self, t: ArrayLike) -> State:
        """dy/dt at t; NaN outside of the solved interval."""
        return self._at(t, self.inside.derivative)

    def _at(self, t: ArrayLike, of: Any) -> State:
        time = jnp.asarray(t)
        time = time if jnp.issubdtype(time.dtype, jnp.floating) else time.astype(self.t1.dtype)
        if time.ndim > 1:
            raise UserError(f"t must be one time or an array of them, (times,), got shape {time.shape}")
        return jax.vmap(lambda t: self._one(t, of))(time) if time.ndim else self._one(time, of)

    def _one(self, t: Array, of: Any) -> State:
        wide = jnp.promote_types(t.dtype, self.t1.dtype)
        since = (t.astype(wide) - jnp.asarray(self.origin, wide)).astype(self.t1.dtype)
        low, high = jnp.minimum(self.t0, self.t1), jnp.maximum(self.t0, self.t1)
        slack = 4 * jnp.finfo(wide).eps * jnp.maximum(jnp.abs(jnp.asarray(self.origin, wide)), jnp.abs(self.t1))
        inside = (since >= low - slack) & (since <= high + slack)
        return jax.tree.map(lambda x: jnp.where(inside, x, jnp.nan), of(jnp.clip(since, low, high)))

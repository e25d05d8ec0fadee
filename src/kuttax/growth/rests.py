"""Rests: where a field does not change, and what one solver makes of solutions close to them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._solve.solve import solve
from .._types import VectorField
from ..solvers.base.solver import AbstractSolver
from .tangents import with_tangents

_ITERATIONS = 30
_SMALL = 1e-3  # of a slope, relative to its mean size at the states that the search starts from


class Rests(NamedTuple):
    """Equilibria of a field, found from m states.

    Attributes:
        states: The equilibria, one for each state that the search started from, (m, d); NaN where it found none. One
            equilibrium may be there several times.
        maps: The derivative of the solution after `interval` in its start, at the equilibria, (m, d, d).
        interval: A time, ().
    """

    states: Float[Array, "m d"]
    maps: Float[Array, "m d d"]
    interval: Float[Array, ""]


def rests_near(
    field: VectorField,
    near: Float[Array, "m d"],
    interval: Float[Array, ""],
    *,
    solver: AbstractSolver,
    args: Any = None,
    **options: Any,
) -> Rests:
    """The equilibria of a field that does not depend on time, among some states, and the solver's map at them.

    Every Runge-Kutta method stays at an equilibrium, whatever its steps, but solutions close to it may approach with
    one solver and move away with another. Newton's method starts from each state; equilibria outside of the box around
    the states do not count.

    Args:
        field: `field(t, y, args)` of one state, (d,).
        near: States to start the search from.
        interval: The time of the solver's map.
        solver: Solves the field.
        args: Passed to the field.
        options: Passed to `kx.solve`.
    """
    slope = lambda y: field(jnp.zeros((), y.dtype), y, args)
    low, high = near.min(0, keepdims=True), near.max(0, keepdims=True)
    most = jnp.linalg.norm(high - low)

    def newton(y: Array, _: Any) -> tuple[Array, None]:
        step = jnp.linalg.solve(jax.jacfwd(slope)(y), slope(y))
        size = jnp.linalg.norm(step)
        return y - step * jnp.minimum(1.0, 0.2 * most / size).astype(y.dtype), None

    found = jax.vmap(lambda y: jax.lax.scan(newton, y, length=_ITERATIONS)[0])(near)
    sizes = lambda states: jnp.linalg.norm(jax.vmap(slope)(states), axis=1)
    there = (sizes(found) <= _SMALL * sizes(near).mean()) & jnp.all((low <= found) & (found <= high), axis=1)
    safe = jnp.where(there[:, None], found, near)
    n, d = near.shape
    start = safe, jnp.broadcast_to(jnp.eye(d, dtype=near.dtype), (n, d, d))
    given = {"args": args, "batch_axis": 0, "throw": False, **options}
    sol = solve(with_tangents(field), start, jnp.zeros((), near.dtype), interval, solver=solver, **given)
    return Rests(jnp.where(there[:, None], found, jnp.nan), sol.y1[1], interval)

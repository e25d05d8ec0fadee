"""Growth rates: how fast nearby solutions of a field move apart or together, as one solver sees it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._solve.solve import solve
from .._types import VectorField
from ..errors import UserError
from ..solvers.base.solver import AbstractSolver
from .rests import Rests, rests_near
from .tangents import with_tangents

_MOST = 8
"""Default number of rates: the largest ones."""


class GrowthRates(NamedTuple):
    """The growth rates along some trajectories; finite-time Lyapunov exponents.

    Attributes:
        rates: For each of n trajectories the k largest rates, in decreasing order, in units of 1 / time, (n, k). A
            positive rate: nearby solutions move apart. For a linear field the rates tend to the real parts of its
            eigenvalues.
        volume: The rate at which the volume of a set of nearby solutions grows, (n,): the sum of all d rates, and the
            mean divergence of the field along the trajectory (Liouville). None if only some rates are computed.
        duration: The time over which they are averages, ().
        status: A `Status` as an integer, (): the worst one of all solves.
        rests: The equilibria that were looked for; None without.
    """

    rates: Float[Array, "n k"]
    volume: Float[Array, " n"] | None
    duration: Float[Array, ""]
    status: Int[Array, ""]
    rests: Rests | None = None


def growth_rates(
    field: VectorField,
    y0: Float[Array, "n d"],
    ts: Float[Array, " times"],
    *,
    solver: AbstractSolver,
    args: Any = None,
    args_axes: Any = None,
    most: int = _MOST,
    near: Float[Array, "m d"] | None = None,
    **options: Any,
) -> GrowthRates:
    """The growth rates of `field` along its trajectories, as `solver` computes them.

    The variational equation dV/dt = J(t, y) V is solved together with the field by the same solver, so the result
    belongs to the solver's own map: a Runge-Kutta method, applied to both, gives the exact derivative of its step.
    Between two of the times `ts` the columns of V are made orthonormal (Benettin et al., Meccanica 1980). If the rates
    of a coarse solver differ from those of an accurate one, in particular in their sign, then the model that runs with
    the coarse one behaves differently from its own field (Lu & Tsai 2025, arXiv 2507.14491).

    Args:
        field: `field(t, y, args)` of one state, (d,).
        y0: The starts of n trajectories.
        ts: Increasing times, common to all, at least two. A solver with fixed steps takes them in each interval.
        solver: Solves the field.
        args: Passed to the field.
        args_axes: As for `kx.solve`.
        most: The number of rates, at most d.
        near: For a field that does not depend on time: states from which to look for equilibria. What the solver does
            close to them is then part of the result. None: do not look.
        options: Passed to `kx.solve`.

    Raises:
        UserError: `y0` is not one array (n, d), `ts` has fewer than two times, or `kx.solve` refuses the solver.
    """
    if not isinstance(y0, jax.Array | np.ndarray) or y0.ndim != 2:
        raise UserError("growth_rates needs starts of shape (n, d): one array with one row a trajectory")
    y0, ts = jnp.asarray(y0), jnp.asarray(ts)
    if ts.ndim != 1 or len(ts) < 2:
        raise UserError(f"growth_rates needs at least two times, ts of shape (times,), got shape {ts.shape}")
    n, d = y0.shape
    k = min(most, d)
    first = jnp.broadcast_to(jnp.eye(d, k, dtype=y0.dtype), (n, d, k))

    augmented, given = with_tangents(field), {"args": args, "args_axes": args_axes, "throw": False, **options}

    def interval(carry: Any, ends: Array) -> tuple[Any, Any]:
        sol = solve(augmented, carry, ends[0], ends[1], ts=ends, solver=solver, batch_axis=0, **given)
        y, v = sol.y1
        v, r = jnp.linalg.qr(v)
        grown = jnp.log(jnp.abs(jnp.diagonal(r, axis1=1, axis2=2)))
        return (y, v), (grown, jnp.max(sol.status))

    _, (grown, status) = jax.lax.scan(interval, (y0, first), jnp.stack([ts[:-1], ts[1:]], axis=1))
    duration = ts[-1] - ts[0]
    rates = jnp.sum(grown, axis=0) / duration.astype(grown.dtype)
    volume = jnp.sum(rates, axis=1) if k == d else None
    rests = None
    if near is not None:
        rests = rests_near(field, jnp.asarray(near), ts[1] - ts[0], solver=solver, args=args, **options)
    return GrowthRates(-jnp.sort(-rates, axis=1), volume, duration, jnp.max(status), rests)

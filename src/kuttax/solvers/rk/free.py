"""Free: schemes without any order, for the last digits of a sampler with few evaluations."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...errors import UserError
from ...kinds import checked_count
from .chart import AbstractChart, in_rows, moderate
from .tableau import Tableau


class Free(AbstractChart):
    """Free times, free scales and free weights: the time of an evaluation is not where the state is.

    With the slopes k_j = f(t0 + c_j h, x_j), the states are x_i = s_i x_0 + h sum_{j<i} a_ij k_j. Each row of a, and b
    at the end, adds weights of the last `window` slopes to the row before. No sum of weights is prescribed. So the
    scheme is not consistent: with smaller steps it does not approach the solution. Learned schemes for diffusion models
    separate time, scale and state in this way (Shaul et al. 2024, arXiv 2403.01329; DyWeight, arXiv 2603.11607).

    Attributes:
        times: Their reflection into [0, 1] is c, (rows, s).
        factors: The s_i of all states, the last at the end, (rows, s + 1).
        updates: What each row adds, row by row, the earliest slope first, (rows, entries).
        window: How many of the last slopes an update has (static).
    """

    times: Array
    factors: Array
    updates: Array
    stages: int = eqx.field(static=True)
    window: int = eqx.field(static=True)
    order: int = eqx.field(static=True)

    @classmethod
    def at(cls, tableau: Tableau, window: int | None, rows: int, dtype: Any) -> "Free":
        """The chart with the given tableau in every row, except that times are in the middle between its nodes.

        At its own first node, the start, the slope of a flow from noise hardly depends on anything but x_0.

        Raises:
            UserError: The window is no whole number from 1, or is too short for the tableau.
        """
        s = tableau.stages
        window = s if window is None else checked_count("window", window)
        full = np.diff(np.concatenate([tableau.a, tableau.b[None]]), axis=0)  # update i has the slopes up to i
        entries = _entries(s, window)
        if not np.isclose(np.abs(full).sum(), np.abs(full[entries]).sum()):
            raise UserError(f"an update of {tableau.name} needs more than the last {window} slopes: widen the window")
        arrays = {"times": (np.arange(s) + 0.5) / s, "factors": np.ones(s + 1), "updates": full[entries]}
        return cls.of_arrays({name: in_rows(x, rows, dtype) for name, x in arrays.items()}, 0, s)

    @classmethod
    def of_arrays(cls, arrays: dict[str, Array], order: int, stages: int) -> "Free":
        count = arrays["updates"].shape[-1]
        window = next((w for w in range(1, stages + 1) if len(_entries(stages, w)[0]) == count), stages)
        parameters: Any = {name: arrays[name] for name in ("times", "factors", "updates")}
        return cls(**parameters, stages=stages, window=window, order=order)

    @property
    def widths(self) -> dict[str, int]:
        return {"times": self.stages, "factors": self.stages + 1, "updates": len(_entries(self.stages, self.window)[0])}

    def coefficients(self) -> tuple[Array, Array, Array]:
        def one(updates: Array) -> tuple[Array, Array, Array]:
            s = self.stages
            full = jnp.zeros((s, s), updates.dtype).at[_entries(s, self.window)].set(updates)
            sums = jnp.cumsum(full, axis=0)
            a, b = jnp.concatenate([jnp.zeros((1, s), updates.dtype), sums[:-1]]), sums[-1]
            return a, b, moderate(a, b)

        return jax.vmap(one)(self.updates)

    def through(
        self,
        times: Float[np.ndarray, " s"],
        path: Callable[[float], Float[np.ndarray, "n d"]],
        slope: Callable[[float, Float[np.ndarray, "n d"]], Float[np.ndarray, "n d"]],
    ) -> "Free | None":
        """The weights of each state in turn, by least squares: once the slopes before it are known, it is linear in
        them. A state is where the next slope is evaluated; the last one is the end."""
        start, ends = path(0.0), [*times[1:], 1.0]
        factors, updates, slopes, added = [1.0], [], [], np.zeros_like(start)
        x = start
        for time, end in zip(times, ends, strict=True):
            slopes = [*slopes, slope(time, x)][-self.window :]
            columns = np.stack([start, *slopes], axis=-1).reshape(start.size, -1)
            if not np.isfinite(columns).all():
                return None
            factor, *update = np.linalg.lstsq(columns, (path(end) - added).ravel())[0]
            added = added + sum(weight * k for weight, k in zip(update, slopes, strict=True))
            x = factor * start + added
            factors.append(factor)
            updates += update
        arrays = {"times": times, "factors": np.array(factors), "updates": np.array(updates)}
        return type(self).of_arrays(
            {name: in_rows(v, 1, self.updates.dtype) for name, v in arrays.items()}, 0, self.stages
        )

    def nodes(self, a: Array) -> Array:
        del a
        folded = jnp.mod(jnp.where(self.times < 0, -self.times, self.times), 2)
        return jnp.where(folded > 1, 2 - folded, folded)

    def scales(self) -> Array:
        return self.factors


def _entries(stages: int, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the entries of the updates, (update, slope), row by row."""
    update, slope = np.tril_indices(stages)
    kept = update - slope < window
    return update[kept], slope[kept]

"""Free: schemes without any order, for the last digits of a sampler with few evaluations."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...errors import UserError
from .chart import AbstractChart, in_rows, moderate
from .tableau import Tableau


class Free(AbstractChart):
    """Free times and free weights: the time of an evaluation is not where the state is, and weights need no sum.

    With the slopes k_j = f(t0 + c_j h, x_j), each update adds a sum of the last `window` of them,
    x_{i+1} = x_i + h sum_j d_ij k_j. The scheme is not consistent: with smaller steps it does not approach the
    solution. Learned schemes for diffusion models separate time and state this way (DyWeight, arXiv 2603.11607).

    Attributes:
        times: Of all evaluations but the first, which is at the start, (rows, s - 1); reflected into [0, 1] they are c.
        updates: The d_ij, update by update, the earliest slope first, (rows, entries).
        window: How many of the last slopes an update has (static).
    """

    times: Array
    updates: Array
    stages: int = eqx.field(static=True)
    window: int = eqx.field(static=True)
    order: int = eqx.field(static=True)

    @classmethod
    def at(cls, tableau: Tableau, window: int | None, rows: int, dtype: Any) -> "Free":
        """The chart with the given tableau in every row.

        Raises:
            UserError: The window is no whole number from 1, or is too short for the tableau.
        """
        s = tableau.stages
        window = s if window is None else window
        if isinstance(window, bool) or not isinstance(window, int) or window < 1:
            raise UserError(f"window must be a whole number >= 1, got {window!r}")
        full = np.diff(np.concatenate([tableau.a, tableau.b[None]]), axis=0)  # update i has the slopes up to i
        entries = _entries(s, window)
        if not np.isclose(np.abs(full).sum(), np.abs(full[entries]).sum()):
            raise UserError(f"an update of {tableau.name} needs more than the last {window} slopes: widen the window")
        times, updates = in_rows(tableau.c[1:], rows, dtype), in_rows(full[entries], rows, dtype)
        return cls(times=times, updates=updates, stages=s, window=min(window, s), order=0)

    @classmethod
    def of_arrays(cls, arrays: dict[str, Array], order: int, stages: int) -> "Free":
        count = arrays["updates"].shape[-1]
        window = next((w for w in range(1, stages + 1) if len(_entries(stages, w)[0]) == count), stages)
        return cls(times=arrays["times"], updates=arrays["updates"], stages=stages, window=window, order=order)

    @property
    def widths(self) -> dict[str, int]:
        return {"times": self.stages - 1, "updates": len(_entries(self.stages, self.window)[0])}

    def coefficients(self) -> tuple[Array, Array, Array]:
        def one(updates: Array) -> tuple[Array, Array, Array]:
            s = self.stages
            full = jnp.zeros((s, s), updates.dtype).at[_entries(s, self.window)].set(updates)
            sums = jnp.cumsum(full, axis=0)
            a, b = jnp.concatenate([jnp.zeros((1, s), updates.dtype), sums[:-1]]), sums[-1]
            return a, b, moderate(a, b)

        return jax.vmap(one)(self.updates)

    def nodes(self, a: Array) -> Array:
        folded = jnp.mod(jnp.where(self.times < 0, -self.times, self.times), 2)
        later = jnp.where(folded > 1, 2 - folded, folded)
        return jnp.concatenate([jnp.zeros_like(a[:, 0, :1]), later], axis=1)


def _entries(stages: int, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the entries of the updates, (update, slope), row by row."""
    update, slope = np.tril_indices(stages)
    kept = update - slope < window
    return update[kept], slope[kept]

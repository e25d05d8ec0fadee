"""Path: the states of a solution between its start and its end."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


class Path(eqx.Module):
    """A cubic Hermite spline through equally spaced states and their slopes.

    Attributes:
        states: Pytree with a leading axis of times (after one of starts, if there are many).
        slopes: Their derivatives with respect to the share of the interval.
    """

    states: PyTree
    slopes: PyTree

    def at(self, share: Float[Array, ""]) -> PyTree:
        """The state after this share of the interval, of one start."""
        cells = len(jax.tree.leaves(self.states)[0]) - 1
        cell = jnp.clip(jnp.floor(share * cells), 0, cells - 1)
        n, x, width = cell.astype(jnp.int32), share * cells - cell, 1 / cells
        weights = (1 + 2 * x) * (1 - x) ** 2, x**2 * (3 - 2 * x), x * (1 - x) ** 2 * width, x**2 * (x - 1) * width

        def one(y: Array, k: Array) -> Array:
            parts = (y[n], y[n + 1], k[n], k[n + 1])
            return sum((w.astype(y.dtype) * part for w, part in zip(weights, parts, strict=True)), jnp.zeros_like(y[0]))

        return jax.tree.map(lambda y, k: one(jnp.asarray(y), jnp.asarray(k)), self.states, self.slopes)

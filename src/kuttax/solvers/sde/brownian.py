"""BrownianPath: a path of W drawn cell by cell, independent of the steps over its cells."""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree


class Increment(NamedTuple):
    """The increment of W on an interval of length 1, and its mean there.

    Attributes:
        w: W(1) - W(0), of variance 1.
        mean: The mean of W(s) - W(0) over the interval, of variance 1/3 and covariance 1/2 with w; or None.
    """

    w: PyTree
    mean: PyTree | None


class BrownianPath(eqx.Module):
    """A path of W on a grid of equal cells: cell n is drawn with `jax.random.fold_in(key, n)`.

    The increment of W over several cells is the sum of those of each cell. So the path is the same for steps of one
    cell, of two, or of four. Each cell draws two independent numbers: its increment, and the difference between its
    mean and half of that increment, of variance 1/12 (the space-time Levy area; Foster, Lyons & Oberhauser 2020, arXiv
    1906.05322).

    Attributes:
        key: One JAX random key.
        shapes: The shape of W, a pytree of `jax.ShapeDtypeStruct`. Another dtype gives another path.
    """

    key: PRNGKeyArray
    shapes: PyTree

    def increment(self, first: Array | int, cells: int = 1, *, mean: bool = True) -> Increment:
        """The increment of W over `cells` cells from number `first` on, scaled to an interval of length 1.

        If they take the time h, the increment is sqrt(h) `w`, and the mean of W above its start is sqrt(h) `mean`.
        """
        keys = jax.vmap(self._keys)(jnp.asarray(first).astype(jnp.int32) + jnp.arange(cells, dtype=jnp.int32))
        leaves, structure = jax.tree.flatten(self.shapes)
        ws, means = [], []
        for i, leaf in enumerate(leaves):
            draw = jax.vmap(lambda key, leaf=leaf: jax.random.normal(key, leaf.shape, leaf.dtype))
            rise = draw(keys[:, 2 * i]) / math.sqrt(cells)
            ws.append(rise.sum(0))
            if mean:
                # The increment of a cell counts in full in all cells after it, and by half in its own.
                kept = (cells - 0.5 - jnp.arange(cells, dtype=leaf.dtype)) / cells
                areas = draw(keys[:, 2 * i + 1]) / (math.sqrt(12) * cells**1.5)
                means.append((jnp.reshape(kept, (cells,) + (1,) * len(leaf.shape)) * rise + areas).sum(0))
        w = jax.tree.unflatten(structure, ws)
        return Increment(w, jax.tree.unflatten(structure, means) if mean else None)

    def _keys(self, n: Array) -> PRNGKeyArray:
        """Two keys in cell n for each leaf of W; the first is the same whether or not the second is used."""
        return jax.random.split(jax.random.fold_in(self.key, n), 2 * len(jax.tree.leaves(self.shapes)))

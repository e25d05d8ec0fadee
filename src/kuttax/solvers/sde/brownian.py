"""BrownianPath: a path of W drawn cell by cell, the same one whatever the steps that cross its cells."""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree


class Increment(NamedTuple):
    """What W does on an interval of length 1.

    Attributes:
        w: W(1) - W(0), of variance 1.
        mean: The mean of W(s) - W(0) over the interval, of variance 1/3 and covariance 1/2 with w; or None.
    """

    w: PyTree
    mean: PyTree | None


class BrownianPath(eqx.Module):
    """A path of W on a grid of equal cells: cell n is drawn with `jax.random.fold_in(key, n)`.

    What W does over several cells is the sum of what it does in each, so that a path can be crossed in steps of one
    cell, or of two, or four, and stays the same. For each cell two independent numbers are drawn: its increment, and
    how far its mean is from half of that, of variance 1/12 (the space-time Levy area; Foster, Lyons & Oberhauser 2020,
    arXiv 1906.05322).

    Attributes:
        key: One JAX random key.
        shapes: A pytree of `jax.ShapeDtypeStruct`, of W. Another dtype gives another path.
    """

    key: PRNGKeyArray
    shapes: PyTree

    def increment(self, first: Array | int, cells: int = 1, *, mean: bool = True) -> Increment:
        """What W does in `cells` cells from number `first` on, scaled to an interval of length 1.

        Where they take the time h, W rises by sqrt(h) `w`, and by sqrt(h) `mean` in the mean.
        """
        keys = jax.vmap(self._keys)(jnp.asarray(first).astype(jnp.int32) + jnp.arange(cells, dtype=jnp.int32))
        leaves, structure = jax.tree.flatten(self.shapes)
        ws, means = [], []
        for i, leaf in enumerate(leaves):
            draw = jax.vmap(lambda key, leaf=leaf: jax.random.normal(key, leaf.shape, leaf.dtype))
            rise = draw(keys[:, 2 * i]) / math.sqrt(cells)
            ws.append(rise.sum(0))
            if mean:
                # What W rises in a cell it keeps in all cells after it, and in half of its own.
                kept = (cells - 0.5 - jnp.arange(cells, dtype=leaf.dtype)) / cells
                areas = draw(keys[:, 2 * i + 1]) / (math.sqrt(12) * cells**1.5)
                means.append((jnp.reshape(kept, (cells,) + (1,) * len(leaf.shape)) * rise + areas).sum(0))
        w = jax.tree.unflatten(structure, ws)
        return Increment(w, jax.tree.unflatten(structure, means) if mean else None)

    def _keys(self, n: Array) -> PRNGKeyArray:
        """Two keys in cell n for each leaf of W; the first does not depend on whether the second is used."""
        return jax.random.split(jax.random.fold_in(self.key, n), 2 * len(jax.tree.leaves(self.shapes)))

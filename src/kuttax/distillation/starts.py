"""The starts of a distillation and their ends, for the fit and held out."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from ..arrays import as_jax
from ..errors import UserError
from .path import Path


class Pairs(eqx.Module):
    """Starts of a field and their ends: two pytrees of arrays with a leading axis of starts.

    Attributes:
        start, end: The states.
        path: The teacher's states between them, where the fit needs them.
        own: What each start has of its own in the field's args, with a leading axis of starts; None without any.
    """

    start: PyTree
    end: PyTree
    path: Path | None = None
    own: PyTree = None

    @property
    def number(self) -> int:
        """The number of pairs."""
        return len(jax.tree.leaves(self.start)[0])

    @property
    def size(self) -> int:
        """The number of entries in one state."""
        return sum(leaf[0].size for leaf in jax.tree.leaves(self.start))

    @property
    def spread(self) -> float:
        """The root mean square deviation of the ends from their mean: the error of a solver that has not solved."""
        flat = np.concatenate([np.asarray(x).reshape(self.number, -1) for x in jax.tree.leaves(self.end)], axis=1)
        return max(float(np.sqrt(np.mean((flat - flat.mean(axis=0)) ** 2))), float(np.finfo(np.float32).tiny))

    @property
    def length(self) -> float:
        """The root mean square of the Euclidean lengths of the starts."""
        return float(np.sqrt(sum(np.sum(np.square(x)) for x in jax.tree.leaves(self.start)) / self.number))

    def rows(self, chosen: np.ndarray) -> "Pairs":
        """The pairs with these indices."""
        return jax.tree.map(lambda x: x[chosen], self)


def checked_starts(y0: PyTree) -> PyTree:
    """`y0` as NumPy arrays.

    Raises:
        UserError: It has no floating-point arrays with a common leading axis of at least two starts, or a number in it
            is not finite.
    """
    y0 = as_jax(y0)
    leaves = jax.tree.leaves(y0)
    shapes = [np.shape(leaf) for leaf in leaves]
    if not leaves or not all(shapes) or len({shape[0] for shape in shapes}) > 1:
        raise UserError(f"y0 must hold arrays with a common leading axis of starts, got shapes {shapes}")
    if shapes[0][0] < 2:
        raise UserError(f"distill needs at least 2 starts, some of them to hold out, got {shapes[0][0]}")
    if not all(eqx.is_array(leaf) and np.issubdtype(leaf.dtype, np.floating) for leaf in leaves):
        kinds = ", ".join(str(getattr(leaf, "dtype", type(leaf).__name__)) for leaf in leaves)
        raise UserError(f"y0 must hold real floating-point arrays, got {kinds}: convert it, e.g. y0.astype(float)")
    y0 = jax.tree.map(np.asarray, y0)
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(y0)):
        raise UserError("y0 holds NaN or infinite numbers: leave those starts out")
    return y0


def split(starts: int, holdout: Any, key: PRNGKeyArray) -> tuple[np.ndarray, np.ndarray]:
    """The indices of the starts to fit on and of the held-out ones, drawn by `key`.

    Raises:
        UserError: `holdout` is not between 0 and 1, or leaves no start on one side.
    """
    if isinstance(holdout, bool) or not isinstance(holdout, int | float) or not 0 < holdout < 1:
        raise UserError(f"holdout must be a fraction between 0 and 1, got {holdout!r}: 0.2 holds out every fifth start")
    held = round(holdout * starts)
    if not 0 < held < starts:
        raise UserError(f"holdout={holdout:g} of {starts} starts holds out {held}: give more starts, or another share")
    order = np.asarray(jax.random.permutation(key, starts))
    return order[held:], order[:held]

"""The state of `solve`: its checks, and its batch axis."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..arrays import as_jax
from ..errors import UserError
from ..solvers.base.solution import Solution


def checked_state(y0: PyTree) -> PyTree:
    if isinstance(y0, list) and all(isinstance(x, (int, float)) for x in jax.tree.leaves(y0)):
        y0 = _array_of(y0)
    y0 = as_jax(y0)
    leaves = jax.tree.leaves(y0)
    if not leaves:
        raise UserError("y0 holds no arrays: give a state with at least one")
    y0 = jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, (float, np.ndarray, np.generic)) else x, y0)
    for leaf in jax.tree.leaves(y0):
        kind = getattr(leaf, "dtype", type(leaf).__name__)
        if not (eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating)):
            mend = "convert it, y0.astype(float), or y0.float() in PyTorch"
            raise UserError(f"y0 must hold real floating-point arrays, got {kind}: {mend}")
    kinds = sorted({str(leaf.dtype) for leaf in jax.tree.leaves(y0)})
    if len(kinds) > 1:
        raise UserError(f"the leaves of y0 must share one dtype, got {' and '.join(kinds)}: cast them to one")
    return y0


def _array_of(y0: list) -> PyTree:
    """A list of numbers, or of lists of them, as an array."""
    try:
        return jnp.asarray(np.asarray(y0, np.float64), jnp.result_type(float))
    except ValueError:
        raise UserError(f"y0 is a list of rows that differ in length, {y0!r}: give an array") from None


def samples_first(y0: PyTree, axis: int) -> PyTree:
    if isinstance(axis, bool) or not isinstance(axis, int | np.integer):
        raise UserError(f"batch_axis must be a whole number or None, got {axis!r}")
    shapes = [leaf.shape for leaf in jax.tree.leaves(y0)]
    if not all(-len(shape) <= axis < len(shape) for shape in shapes):
        raise UserError(f"batch_axis={axis} is no axis of every leaf of y0, whose shapes are {shapes}")
    counts = sorted({shape[axis] for shape in shapes})
    if len(counts) > 1 or counts[0] == 0:
        raise UserError(f"batch_axis={axis} must count the same samples, at least one, in every leaf, got {counts}")
    return y0 if axis == 0 else jax.tree.map(lambda x: jnp.moveaxis(x, axis, 0), y0)


def samples_back(sol: Solution, axis: int) -> Solution:
    if axis == 0:
        return sol
    y1 = jax.tree.map(lambda x: jnp.moveaxis(x, 0, axis), sol.y1)
    ys = jax.tree.map(lambda x: jnp.moveaxis(x, 1, axis + 1 if axis >= 0 else axis), sol.ys)
    dense = None if sol.dense is None else dataclasses.replace(sol.dense, axis=axis)
    return dataclasses.replace(sol, y1=y1, ys=ys, dense=dense)

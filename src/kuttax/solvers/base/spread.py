"""Numbers that every sample has of its own, beside arrays with more axes: `spread`, `inner`, `put` and `pick`."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from ..._types import Count, State, Time


def spread(h: Array, leaf: Array) -> Array:
    """`h`, a scalar or one number a sample, shaped so that it broadcasts along the leading axis of `leaf`."""
    return h if h.ndim == 0 else jnp.reshape(h, h.shape + (1,) * (leaf.ndim - h.ndim))


def put(buffer: Array, index: Int[Array, "*samples"], value: Array) -> Array:
    """buffer[index] = value, or, with an index a sample, buffer[index_b, b] = value_b."""
    if index.ndim == 0:
        return jax.lax.dynamic_update_index_in_dim(buffer, value, index, 0)
    return buffer.at[index, jnp.arange(index.shape[0])].set(value)


def pick(buffer: Array, index: Count) -> Array:
    """buffer[index], or, with an index a sample, buffer[index_b, b]."""
    return buffer[index] if index.ndim == 0 else buffer[index, jnp.arange(index.shape[0])]


def inner(a: State, b: State, like: Time) -> Time:
    """The inner product of two states, or of those of each sample if `like` has one number for each."""
    axes = lambda x: tuple(range(like.ndim, x.ndim))
    parts = [jnp.sum(x * y, axis=axes(x)) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)]
    return functools.reduce(jnp.add, parts)

"""spread: numbers that every sample has of its own, beside arrays with more axes."""

import jax.numpy as jnp
from jaxtyping import Array


def spread(h: Array, leaf: Array) -> Array:
    """`h`, a scalar or one number a sample, shaped so that it broadcasts along the leading axis of `leaf`."""
    return h if h.ndim == 0 else jnp.reshape(h, h.shape + (1,) * (leaf.ndim - h.ndim))

"""spread: one number for each sample, shaped for arrays with more axes."""

import jax.numpy as jnp
from jaxtyping import Array


def spread(h: Array, leaf: Array) -> Array:
    """`h`, a scalar or one number for each sample, shaped to broadcast along the leading axis of `leaf`."""
    return h if h.ndim == 0 else jnp.reshape(h, h.shape + (1,) * (leaf.ndim - h.ndim))

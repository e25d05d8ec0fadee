"""Evidence: the terms of the lower bound that a latent variable model maximises."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def gaussian_log_density(x: Float[Array, "*shape"], mean: Float[Array, "*shape"], std: float) -> Float[Array, "*shape"]:
    """log N(x; mean, std^2) of each value, in nats, for a fixed observation noise."""
    return -(((x - mean) / std) ** 2) / 2 - math.log(std) - math.log(2 * math.pi) / 2


def masked_mean(values: Float[Array, "n ..."], mask: Bool[Array, "n ..."]) -> Float[Array, " n"]:
    """The mean of each sample's values where `mask` is true; 0 if there are none. The other values may be anything."""
    axes = tuple(range(1, values.ndim))
    total = jnp.sum(jnp.where(mask, values, 0), axis=axes)
    return total / counted(mask).astype(values.dtype)


def counted(mask: Bool[Array, "n ..."]) -> Array:
    """The number of each sample's values, at least one, `(n,)`."""
    return jnp.maximum(jnp.sum(mask, axis=tuple(range(1, mask.ndim))), 1)


def kl_from_standard_normal(mean: Float[Array, "n d"], std: Float[Array, "n d"]) -> Float[Array, " n"]:
    """KL(N(mean, diag(std^2)) | N(0, 1)) of each sample, in nats: sum of (mean^2 + std^2 - 1) / 2 - log std.

    Kingma & Welling (ICLR 2014, appendix B).
    """
    return jnp.sum((mean**2 + std**2 - 1) / 2 - jnp.log(std), axis=-1)

"""The U-Net field in JAX (blueprints.unet): its layers as a user of JAX writes them."""

import jax
import jax.numpy as jnp
from jax import Array

from .jax_layers import Weights, attention, conv, dense, group_norm, grown, time_features


def unet(t, y: Array, weights: Weights, levels: int) -> Array:
    """f(t, y) on a batch of images, (batch, channels, side, side), at so many resolutions."""
    time = jax.nn.silu(time_features(t, weights))
    x, kept = conv(y, weights, "first"), []
    for i in range(levels - 1):
        x = _block(x, time, weights, f"down{i}")
        kept.append(x)
        x = conv(x, weights, f"shrink{i}", stride=2)
    x = _block(x, time, weights, "middle0")
    x = _mixed(x, weights, "middle")
    x = _block(x, time, weights, "middle1")
    for i in reversed(range(levels - 1)):
        x = conv(grown(x), weights, f"grow{i}")
        x = _block(jnp.concatenate([x, kept[i]], axis=1), time, weights, f"up{i}")
    return conv(jax.nn.silu(group_norm(x, weights, "last.norm")), weights, "last")


def _block(x: Array, time: Array, weights: Weights, name: str) -> Array:
    """Two convolutions, the time added per channel between them, beside the input."""
    y = conv(jax.nn.silu(group_norm(x, weights, f"{name}.norm0")), weights, f"{name}.conv0")
    y = y + dense(time, weights, f"{name}.time")[None, :, None, None]
    y = conv(jax.nn.silu(group_norm(y, weights, f"{name}.norm1")), weights, f"{name}.conv1")
    return y + (conv(x, weights, f"{name}.past") if f"{name}.past.weight" in weights else x)


def _mixed(x: Array, weights: Weights, name: str) -> Array:
    """Self-attention of all pixels, added to them."""
    tokens = jnp.moveaxis(group_norm(x, weights, f"{name}.norm").reshape(*x.shape[:2], -1), 1, 2)
    return x + jnp.moveaxis(attention(tokens, weights, name), 2, 1).reshape(x.shape)

"""The layers of the larger fields in JAX, written as users write them: plain JAX on a whole batch.

`weights` are those of one field by name (`blueprints.py`); `name` is the layer's.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array

from ..blueprints import FREQUENCIES, HEADS, NORM_GROUPS

Weights = Mapping[str, Array]
_EPS = 1e-5


def dense(x: Array, weights: Weights, name: str) -> Array:
    """x W + b, over the last axis."""
    y = x @ weights[f"{name}.weight"]
    return y + jnp.broadcast_to(weights[f"{name}.bias"], y.shape)


def conv(x: Array, weights: Weights, name: str, stride: int = 1) -> Array:
    """A convolution with zero padding, (batch, channels, height, width)."""
    y = convolve(x, weights[f"{name}.weight"], stride)
    return y + weights[f"{name}.bias"][None, :, None, None]


def convolve(x: Array, weight: Array, stride: int = 1) -> Array:
    """The convolution alone, as `equinox.nn.Conv2d` calls it."""
    half = weight.shape[-1] // 2
    return jax.lax.conv_general_dilated(x, weight, (stride, stride), [(half, half), (half, half)])


def grown(x: Array) -> Array:
    """Twice as high and wide, every pixel repeated."""
    return jnp.repeat(jnp.repeat(x, 2, axis=2), 2, axis=3)


def group_norm(x: Array, weights: Weights, name: str) -> Array:
    """Mean 0 and variance 1 over each group of channels of each image, then scaled and shifted by channel."""
    groups = x.reshape(len(x), NORM_GROUPS, -1)
    y = _normal(groups).reshape(x.shape)
    return y * weights[f"{name}.weight"][None, :, None, None] + weights[f"{name}.bias"][None, :, None, None]


def layer_norm(x: Array, weights: Weights, name: str) -> Array:
    """Mean 0 and variance 1 over the last axis, then scaled and shifted."""
    scale, shift = (jnp.broadcast_to(weights[f"{name}.{part}"], x.shape) for part in ("weight", "bias"))
    return _normal(x) * scale + shift


def _normal(x: Array) -> Array:
    mean = jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.var(x, axis=-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + _EPS)


def attention(x: Array, weights: Weights, name: str) -> Array:
    """Multi-head self-attention, (batch, tokens, width)."""
    q, k, v = (
        part.reshape(*x.shape[:2], HEADS, -1) for part in jnp.split(dense(x, weights, f"{name}.qkv"), 3, axis=-1)
    )
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5
    mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores, axis=-1), v)
    return dense(mixed.reshape(x.shape), weights, f"{name}.out")


def time_features(t, weights: Weights) -> Array:
    """Sines and cosines of the time through two dense layers: (features,)."""
    dtype = weights["time0.weight"].dtype
    angles = jnp.asarray(FREQUENCIES, dtype) * jnp.asarray(t, dtype)
    waves = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)])
    return dense(jax.nn.silu(dense(waves, weights, "time0")), weights, "time1")

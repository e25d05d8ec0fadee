"""The transformer field in JAX (blueprints.transformer): one pre-norm block."""

import jax
import jax.numpy as jnp
from jax import Array

from .jax_layers import Weights, attention, dense, layer_norm, time_features


def transformer(t, y: Array, weights: Weights) -> Array:
    """f(t, y) on a batch of sequences, (batch, tokens, width): what the block adds to its input."""
    x = y + jnp.broadcast_to(time_features(t, weights), y.shape)
    mixed = attention(layer_norm(x, weights, "norm0"), weights, "attention")
    hidden = jax.nn.gelu(dense(layer_norm(x + mixed, weights, "norm1"), weights, "mlp0"))
    return mixed + dense(hidden, weights, "mlp1")

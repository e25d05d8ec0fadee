"""The fields of `problems.Problem` in JAX, on a whole batch or on one sample."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jax import Array

from ..problems import Problem
from .jax_layers import convolve
from .jax_transformer import transformer
from .jax_unet import unet

Field = Callable[[Array, Array, Sequence[Array]], Array]


def field(problem: Problem, convolve: Callable[[Array, Array], Array] = convolve) -> Field:
    """f(t, y, weights) of the problem; "conv" convolves by `convolve`."""
    return {
        "mlp": _mlp,
        "conv": lambda t, y, weights: _conv(t, y, weights, convolve),
        "relaxation": _relaxation,
        "unet": lambda t, y, weights: unet(t, y, problem.named(weights), len(problem.sizes) - 1),
        "transformer": lambda t, y, weights: transformer(t, y, problem.named(weights)),
    }[problem.field]


def diffusion(problem: Problem) -> Field:
    """The diffusion of the problem as an SDE: a fifth of the field, of the state turned round."""
    drift = field(problem)
    return lambda t, y, weights: drift(t, -y, weights) / 5


def _mlp(t, y, weights):
    for i in range(0, len(weights), 2):
        y = jnp.tanh(y) if i else y
        time = jnp.broadcast_to(jnp.asarray(t, y.dtype), (*y.shape[:-1], 1))
        y = jnp.concatenate([y, time], -1) @ weights[i]
        y = y + jnp.broadcast_to(weights[i + 1], y.shape)
    return y


def _conv(t, y, weights, convolve):
    for i in range(0, len(weights), 2):
        y = jnp.tanh(y) if i else y
        time = jnp.broadcast_to(jnp.asarray(t, y.dtype), (len(y), 1, *y.shape[2:]))
        y = convolve(jnp.concatenate([y, time], 1), weights[i])
        y = y + weights[i + 1][None, :, None, None]
    return y


def _relaxation(t, y, weights):
    state, rate = y[..., :-1], y[..., -1:]
    slope = rate * (_mlp(t, state, weights) - state)
    return jnp.concatenate([slope, jnp.zeros_like(rate)], -1)

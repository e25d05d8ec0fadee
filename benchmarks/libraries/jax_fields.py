"""The fields of `problems.Problem` in JAX, on a whole batch or on one sample."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array

from kuttax.nn.fields.convolution import convolve

from ..problems import Problem

Field = Callable[[Array, Array, Sequence[Array]], Array]


def field(problem: Problem) -> Field:
    """f(t, y, weights) of the problem."""
    return {"mlp": _mlp, "conv": _conv, "relaxation": _relaxation}[problem.field]


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


def _conv(t, y, weights):
    for i in range(0, len(weights), 2):
        y = jnp.tanh(y) if i else y
        time = jnp.broadcast_to(jnp.asarray(t, y.dtype), (len(y), 1, *y.shape[2:]))
        y = jax.vmap(convolve, in_axes=(0, None))(jnp.concatenate([y, time], 1), weights[i])
        y = y + weights[i + 1][None, :, None, None]
    return y


def _relaxation(t, y, weights):
    state, rate = y[..., :-1], y[..., -1:]
    slope = rate * (_mlp(t, state, weights) - state)
    return jnp.concatenate([slope, jnp.zeros_like(rate)], -1)

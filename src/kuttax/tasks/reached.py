"""Samples whose solve reached its end, where every sample has its own steps: a loss is the mean over them."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..solvers.base.spread import spread


def zero_where_lost(states: Float[Array, "n ..."], status: Int[Array, "*n"]) -> Float[Array, "n ..."]:
    """The states, zero in place of the NaN of samples whose solve failed; as they are where all share one status.

    What is computed from them, and left out of the loss, then has no derivative that is NaN: a cotangent of zero does
    not help where it is multiplied with a NaN.
    """
    return states if status.ndim == 0 else jnp.where(spread(status == 0, states), states, 0)


def mean_over_reached(values: Float[Array, " n"], status: Int[Array, "*n"]) -> Float[Array, ""]:
    """The mean over the samples whose solve reached its end; over all where they share one status."""
    if status.ndim == 0:
        return jnp.mean(values)
    reached = status == 0
    return jnp.sum(jnp.where(reached, values, 0)) / jnp.maximum(jnp.sum(reached), 1).astype(values.dtype)

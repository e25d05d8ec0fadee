"""Losses over the samples whose solve reached its end, if every sample has its own steps."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..solvers.base.spread import spread


def zero_where_lost(states: Float[Array, "n ..."], status: Int[Array, "*n"]) -> Float[Array, "n ..."]:
    """The states, with zeros in place of the NaN of samples whose solve failed; unchanged if all share one status.

    The values computed from these samples do not enter the loss, and then have no NaN derivative: a zero cotangent
    times NaN would be NaN.
    """
    return states if status.ndim == 0 else jnp.where(spread(status == 0, states), states, 0)


def mean_over_reached(values: Float[Array, " n"], status: Int[Array, "*n"]) -> Float[Array, ""]:
    """The mean over the samples whose solve reached its end; over all if they share one status."""
    if status.ndim == 0:
        return jnp.mean(values)
    reached = status == 0
    return jnp.sum(jnp.where(reached, values, 0)) / jnp.maximum(jnp.sum(reached), 1).astype(values.dtype)

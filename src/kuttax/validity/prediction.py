"""Prediction: the output of a model and a solver for a batch."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..solvers.base.solution import Stats


class Prediction(NamedTuple):
    """The output of a model and a solver for a batch of n samples, for `kuttax.validity.certify` and tasks.

    Attributes:
        outputs: One row for each sample, `(n, ...)`: logits for classification, predicted values for regression. The
            last of two or more axes counts components: `(n, d)`, or `(n, times, d)` for a path.
        metric: The mean metric over the batch, a scalar in the metric's unit.
        labels: The classes, `(n,)`; None if there are none.
        stats: The cost of the solve; None if there was no single solve.
        trajectory: The samples' states over time, `(n, times, d)`; None if not needed.
        loss: The mean loss over the batch, a scalar; set by tasks.
        status: A `Status` as an integer, `()`, the worst one if each sample has its own; None means `Status.ok`.
        nll: Each sample's negative log-likelihood, `(n,)`, whose mean is the metric: changes then count absolutely, in
            the unit of the metric. None for any other metric.
        mask: Which of the outputs count, of their shape; None for all.
    """

    outputs: Float[Array, "n ..."]
    metric: Float[Array, ""]
    labels: Int[Array, " n"] | None = None
    stats: Stats | None = None
    trajectory: Float[Array, "n times d"] | None = None
    loss: Float[Array, ""] | None = None
    status: Int[Array, ""] | None = None
    nll: Float[Array, " n"] | None = None
    mask: Bool[Array, "n ..."] | None = None


def mean_nfe(stats: Stats | None) -> Float[Array, ""]:
    """Evaluations of the field in a solve, the mean over samples if each has its own count; NaN if unknown."""
    if stats is None or stats.nfe is None:
        return jnp.asarray(jnp.nan, jnp.float32)
    return jnp.mean(jnp.asarray(stats.nfe).astype(jnp.float32))

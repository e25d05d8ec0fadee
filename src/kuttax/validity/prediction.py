"""Prediction: what a model and a solver make of a batch."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..solvers.base.solution import Stats


class Prediction(NamedTuple):
    """What a model and a solver make of a batch of n samples; `kuttax.validity.certify` and tasks speak of it.

    Attributes:
        outputs: One row a sample, `(n, ...)`: logits for classification, predicted values for regression. The last of
            two or more axes counts components: `(n, d)`, or `(n, times, d)` for a path.
        metric: The mean metric over the batch, a scalar in the metric's unit.
        labels: The classes, `(n,)`; None where there are none.
        stats: What the solve cost; None where there was no single solve.
        trajectory: The samples' states on the way, `(n, times, d)`; None where nobody needs them.
        loss: The mean loss over the batch, a scalar; tasks give it.
        status: A `Status` as an integer, `()`, the worst one where each sample has its own; None is `Status.ok`.
        nll: Each sample's negative log-likelihood, `(n,)`, whose mean is the metric: its changes then count absolutely,
            in its own unit. None where the metric is something else.
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
    """Evaluations of the field in a solve, the mean over the samples where each has its own; NaN where unknown."""
    if stats is None or stats.nfe is None:
        return jnp.asarray(jnp.nan, jnp.float32)
    return jnp.mean(jnp.asarray(stats.nfe).astype(jnp.float32))

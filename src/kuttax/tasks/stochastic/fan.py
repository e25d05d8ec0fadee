"""Fan: quantiles of trajectories against time, for a model and for data."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""The quantiles: a median between two bands."""


class Fan(NamedTuple):
    """Quantiles of every component at every time.

    Attributes:
        times: `(times,)`.
        levels: The levels of the quantiles, `(levels,)`, increasing.
        model, data: `(levels, times, d)`.
        few: Some of the model's trajectories, `(n, times, d)`.
    """

    times: Float[np.ndarray, " times"]
    levels: Float[np.ndarray, " levels"]
    model: Float[np.ndarray, "levels times d"]
    data: Float[np.ndarray, "levels times d"]
    few: Float[np.ndarray, "n times d"]


def fan(
    times: Float[np.ndarray, " times"], model: Float[np.ndarray, "n times d"], data: Float[np.ndarray, "m times d"]
) -> Fan:
    """The quantiles of a model's trajectories and of observed ones."""
    levels = np.array(LEVELS)
    return Fan(
        np.asarray(times), levels, np.quantile(model, levels, axis=0), np.quantile(data, levels, axis=0), model[:8]
    )

"""Paths: labelled series as paths whose channels are time, values without gaps, and counts of observations.

Kidger, Morrill, Foster & Lyons (Neural controlled differential equations for irregular time series, NeurIPS 2020,
arXiv 2005.08926), section 3: time is a channel of the path, so that the path may be run through at any speed.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .labelled import Labelled, durations, lengths


class PathScaling(NamedTuple):
    """The units of a path's channels, from the training series.

    Attributes:
        duration: The longest time from a series' first observation to its last; the unit of time.
        mean, std: Of the observed values of each channel, `(d,)`.
        most: The largest number of observations of each channel in one series, the unit of counts, `(d,)`.
    """

    duration: float
    mean: Float[np.ndarray, " d"]
    std: Float[np.ndarray, " d"]
    most: Float[np.ndarray, " d"]

    @classmethod
    def of(cls, data: Labelled) -> "PathScaling":
        """Of these series. The unit of a channel that is constant, or never observed, is one."""
        seen = np.isfinite(data.values)
        count = np.maximum(seen.sum(axis=(0, 1)), 1)
        mean = np.where(seen, data.values, 0).sum(axis=(0, 1)) / count
        std = np.sqrt((np.where(seen, data.values - mean, 0) ** 2).sum(axis=(0, 1)) / count)
        most = np.maximum(seen.sum(axis=1).max(axis=0), 1).astype(np.float64)
        return cls(float(durations(data).max()) or 1.0, mean, np.where(std > 0, std, 1), most)


def paths(data: Labelled, scaling: PathScaling, *, counts: bool = False) -> Iterator[Float[np.ndarray, "length c"]]:
    """The knots of each series' path, one after another: a row for each of its times.

    The channels are the time since the series' first observation; the standardised values; and with `counts` the number
    of observations of each value so far.

    Args:
        data: The series.
        scaling: The units.
        counts: Whether to add the counts.
    """
    for row, length in enumerate(lengths(data)):
        t, x = data.times[row, :length], data.values[row, :length]
        t = (t - t[0]) / scaling.duration
        columns = [t[:, None], without_gaps(t, (x - scaling.mean) / scaling.std)]
        if counts:
            columns.append(np.cumsum(np.isfinite(x), axis=0) / scaling.most)
        yield np.concatenate(columns, axis=1)


def without_gaps(t: Float[np.ndarray, " length"], x: Float[np.ndarray, "length d"]) -> Float[np.ndarray, "length d"]:
    """Values with their gaps filled, each channel by itself.

    Between two observations a gap is filled by the straight line in time between them; this uses the later one, so the
    path does not serve predictions made while a series is still being observed. After the last observation the last
    value stays, before the first one the first value holds. A channel without observations is zero.
    """
    filled = np.zeros_like(x)
    for channel, seen in enumerate(np.isfinite(x).T):
        if seen.any():
            filled[:, channel] = np.interp(t, t[seen], x[seen, channel])
    return filled

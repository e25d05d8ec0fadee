"""Moments: how far two solvers' outputs are apart in law, from samples on the same paths."""

import math
from typing import NamedTuple

import numpy as np

from .interval import Interval, of_mean


class MomentGap(NamedTuple):
    """The distance of two vectors of moments, relative to their size, and where it lies given the samples."""

    value: float
    low: float
    high: float

    @property
    def interval(self) -> Interval:
        """Its bounds."""
        return Interval(self.low, self.high)


def of_moment(mine: np.ndarray, theirs: np.ndarray, power: int) -> MomentGap | None:
    """|E theirs^p - E mine^p| over |E mine^2|^(p / 2): of the vector of all outputs' means (p = 1) or mean squares (2).

    Each entry's difference has Student's bounds; those of the norm are the norms of what they leave at least and at
    most. The samples are pairs on one path, whose difference varies far less than they do.

    Args:
        mine, theirs: Outputs (n, k) of the own solver and of another one.
        power: 1 or 2.

    Returns:
        None of a single sample.
    """
    n = len(mine)
    apart = theirs**power - mine**power
    if n < 2:
        return None
    # Of means the root of the summed mean squares, which noise alone keeps above zero; of squares their own norm.
    squares = np.mean(mine**2, axis=0)
    size = float(np.sqrt(np.sum(squares))) if power == 1 else float(np.linalg.norm(squares))
    scale = size if size > 0 else 1.0
    value = np.abs(np.mean(apart, axis=0))
    half = of_mean(0.0, np.std(apart, axis=0, ddof=1) / math.sqrt(n), n).high
    norm = lambda x: float(np.linalg.norm(x)) / scale  # noqa: E731
    return MomentGap(norm(value), norm(np.maximum(value - half, 0)), norm(value + half))

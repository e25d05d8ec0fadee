"""Moments: the difference in law between two solvers' outputs, from samples on the same paths."""

import math
from typing import NamedTuple

import numpy as np

from .interval import CONFIDENCE, Interval, of_mean


class MomentGap(NamedTuple):
    """The largest change of an entry's moment, relative to its component's scale, and its confidence bounds."""

    value: float
    low: float
    high: float

    @property
    def interval(self) -> Interval:
        """Its bounds."""
        return Interval(self.low, self.high)


def of_moment(mine: np.ndarray, theirs: np.ndarray, power: int, scales: np.ndarray) -> MomentGap | None:
    """The largest |E theirs - E mine| of all entries (p = 1), or |std theirs - std mine| (2), over their scales.

    The entries are those of one sample: components, at each time. Each difference has Student's bounds. The largest
    difference is no less than any lower bound, so for k entries each bound has confidence 1 - 0.05 / k (Bonferroni).
    The samples are pairs on one path: their difference varies far less than they do.

    Args:
        mine, theirs: Outputs (n, ..., k) of the own solver and of another one.
        power: 1 or 2.
        scales: Scales of the components, (k,).

    Returns:
        The gap; None for a single sample.
    """
    n = len(mine)
    if n < 2:
        return None
    mine, theirs = mine / scales, theirs / scales
    apart = (theirs - mine) if power == 1 else _spread_changes(mine, theirs)
    value, error = np.abs(np.mean(apart, axis=0)), np.std(apart, axis=0, ddof=1) / math.sqrt(n)
    high = of_mean(value, error, n).high
    low = of_mean(value, error, n, 1 - (1 - CONFIDENCE) / value.size).low
    return MomentGap(float(np.max(value)), max(float(np.max(low)), 0.0), float(np.max(high)))


def _spread_changes(mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """For each sample: std b - std a = (var b - var a) / (std a + std b)."""
    a, b = mine - mine.mean(axis=0), theirs - theirs.mean(axis=0)
    both = np.std(a, axis=0) + np.std(b, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(both > 0, (b**2 - a**2) / both, 0.0)

"""Confidence intervals for three kinds of numbers from a sample. Every bound is one-sided."""

import math
from typing import Any, NamedTuple

import numpy as np
import scipy  # which imports each of its parts when it is used

CONFIDENCE = 0.95
"""The confidence of each single bound."""


class Interval(NamedTuple):
    """A lower and an upper bound."""

    low: float
    high: float


def of_share(count: int, n: int) -> Interval:
    """Bounds of a share, from `count` of n samples: Clopper & Pearson (Biometrika 1934), exact."""
    low = 0.0 if count == 0 else float(scipy.special.betaincinv(count, n - count + 1, 1 - CONFIDENCE))
    high = 1.0 if count == n else float(scipy.special.betaincinv(count + 1, n - count, CONFIDENCE))
    return Interval(low, high)


def of_net_change(lost: Any, gained: Any, n: int) -> Interval:
    """Bounds of the difference of two accuracies on the same n samples: Agresti & Min (Statistics in Medicine 2005).

    Wald's interval after adding half an observation to each cell of the table of pairs; without that the interval would
    have no width if no sample changed.

    Args:
        lost: Samples that only the first gets right; a number, or an array.
        gained: Samples that only the second gets right.
        n: All samples.
    """
    total, b, c = n + 2, lost + 0.5, gained + 0.5
    net = (c - b) / total
    half = float(scipy.special.ndtri(CONFIDENCE)) * np.sqrt(b + c - (b - c) ** 2 / total) / total
    return Interval(net - half, net + half)


def of_mean(value: Any, standard_error: Any, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Bounds of a mean over n >= 2 samples, or of an array of means: Student's t, each bound with this confidence."""
    half = float(scipy.special.stdtrit(n - 1, confidence)) * standard_error
    return Interval(value - half, value + half)


def standard_error(values: np.ndarray) -> float | None:
    """The standard error of the mean of these values; None for a single value."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None

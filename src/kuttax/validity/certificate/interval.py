"""Interval: how far a number from a sample may be off, for three kinds of number. Every bound is one-sided."""

import math
from typing import Any, NamedTuple

import numpy as np
from scipy import special  # not scipy.stats, which takes half a second to import; the tests compare the two

CONFIDENCE = 0.95
"""With which each bound holds by itself."""


class Interval(NamedTuple):
    """A lower and an upper bound."""

    low: float
    high: float


def of_share(count: int, n: int) -> Interval:
    """Of a share of which `count` of n samples were seen: Clopper & Pearson (Biometrika 1934), exact."""
    low = 0.0 if count == 0 else float(special.betaincinv(count, n - count + 1, 1 - CONFIDENCE))
    high = 1.0 if count == n else float(special.betaincinv(count + 1, n - count, CONFIDENCE))
    return Interval(low, high)


def of_net_change(lost: Any, gained: Any, n: int) -> Interval:
    """Of the difference of two accuracies on the same n samples: Agresti & Min (Statistics in Medicine 2005).

    Wald's interval after half an observation is added to each cell of the table of pairs; without that it would
    have no width where nothing was seen to change.

    Args:
        lost: Samples that the first gets right and the second wrong; a number, or an array of them.
        gained: The other way round.
        n: All samples.
    """
    total, b, c = n + 2, lost + 0.5, gained + 0.5
    net = (c - b) / total
    half = float(special.ndtri(CONFIDENCE)) * np.sqrt(b + c - (b - c) ** 2 / total) / total
    return Interval(net - half, net + half)


def of_mean(value: Any, standard_error: Any, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Of a mean over n >= 2 samples, or of an array of them: Student's t, each bound with that confidence."""
    half = float(special.stdtrit(n - 1, confidence)) * standard_error
    return Interval(value - half, value + half)


def standard_error(values: np.ndarray) -> float | None:
    """Of the mean of these values; None of a single one."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None

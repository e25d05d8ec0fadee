"""Scores: quality measures of a classifier's logits, sample by sample, and which of them the metric averages."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy  # which imports each of its parts when it is used

from .solved import Solved

_BINS = 15


class MetricKind(NamedTuple):
    """The kind of a metric.

    Attributes:
        name: "accuracy" or "cross-entropy", means over samples, from outputs and labels; "NLL", the mean of negative
            log-likelihoods; "metric" otherwise.
        unit: The metric's value for one: 100 if an accuracy is in percent.
        scale: Relative changes are relative to at least this, in the metric's unit.
    """

    name: str
    unit: float = 1.0
    scale: float = 0.0

    @property
    def is_absolute(self) -> bool:
        """Whether changes count absolutely, in the unit, and not relative to the metric's value.

        A negative log-likelihood passes through zero, and 0.01 nats mean that the density changes by one percent.
        """
        return self.name in ("accuracy", "NLL")

    @property
    def least(self) -> float:
        """The smallest size, in the metric's unit, that changes are relative to: one nat for a cross-entropy."""
        return max(self.scale, 1.0) if self.name == "cross-entropy" else self.scale

    def size(self, *values: float) -> float:
        """What a change between these values is relative to: the unit, or the largest of them."""
        return self.unit if self.is_absolute else max(*map(abs, values), self.least)


def recognise(predictions: Sequence[Solved]) -> MetricKind:
    """The kind of these predictions' metric: accuracy or cross-entropy of the outputs, or mean negative log-likelihood.

    It must agree with all predictions. Only then is there a value for each sample, and an interval for the mean.
    """
    given = np.array([p.metric for p in predictions])
    if all(p.nll is not None for p in predictions):
        means = np.array([np.mean(p.nll) for p in predictions if p.nll is not None])
        return MetricKind("NLL") if np.allclose(given, means, rtol=1e-3, atol=1e-3) else MetricKind("metric")
    if any(p.labels is None for p in predictions):
        return MetricKind("metric")
    accuracy = np.array([correct(p).mean() for p in predictions])
    for unit in (100.0, 1.0):
        if np.allclose(given, unit * accuracy, rtol=0, atol=1e-4 * unit):
            return MetricKind("accuracy", unit)
    entropy = np.array([cross_entropies(p).mean() for p in predictions])
    return MetricKind("cross-entropy") if np.allclose(given, entropy, rtol=1e-3, atol=1e-6) else MetricKind("metric")


def classes(solved: Solved) -> np.ndarray:
    """The predicted class of every sample, (n,): the largest logit; for a single logit whether it is above zero."""
    return solved.outputs[:, 0] > 0 if solved.outputs.shape[1] == 1 else np.argmax(solved.outputs, axis=1)


def correct(solved: Solved) -> np.ndarray:
    """Whether each sample's class is its label, (n,). Labels of a single logit may be 0, 1 or -1, 1."""
    return classes(solved) == _labels(solved)


def cross_entropies(solved: Solved) -> np.ndarray:
    """-log of the probability that the logits give to each sample's label, (n,); NaN for an invalid label."""
    labels = _labels(solved)
    if solved.outputs.shape[1] == 1:
        return -scipy.special.log_expit(np.where(labels, 1, -1) * solved.outputs[:, 0])
    known = (labels >= 0) & (labels < solved.outputs.shape[1])
    chosen = scipy.special.log_softmax(solved.outputs, axis=1)[np.arange(len(labels)), np.where(known, labels, 0)]
    return np.where(known, -chosen, np.nan)


def calibration_error(solved: Solved) -> float:
    """The expected calibration error: sum over 15 bins of confidence of |accuracy - mean confidence|, weighted.

    Guo, Pleiss, Sun & Weinberger (ICML 2017), equation 3. The confidence is the largest softmax probability.
    """
    logits = solved.outputs
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    confidence, right = np.exp(scipy.special.log_softmax(logits, axis=1).max(axis=1)), correct(solved)
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, right, _BINS) - np.bincount(bins, confidence, _BINS)
    return float(np.abs(gaps).sum() / len(right))


def _labels(solved: Solved) -> np.ndarray:
    assert solved.labels is not None
    return solved.labels > 0 if solved.outputs.shape[1] == 1 else solved.labels

"""The measurements of step control on a solver: its metric, its cost, and its strain."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy  # which imports each of its parts when it is used

from ..certificate.interval import CONFIDENCE, of_net_change
from ..certificate.references import tolerances as reference_tolerances
from ..certificate.solved import sample_deviations, solved
from ..certificate.spread import component_scales, rms


class Tolerances(NamedTuple):
    """The changes that a solver's discretisation may cause on held-out samples.

    Attributes:
        metric: The change of the metric: absolute for an accuracy, 0.01 for one point; relative for any other metric.
        flips: The share of samples whose predicted class may change.
        sure: Whether flips and accuracy count at their 95 % bounds for the number of samples, as in a certificate, if
            the samples are enough for a bound.
        output: Without classes: the deviation of a sample's outputs, relative to the spread of each component over the
            samples, that 95 % of the samples may reach.
    """

    metric: float = 0.01
    flips: float = 0.05
    sure: bool = False
    output: float = 0.05


class Reading(NamedTuple):
    """One solver's prediction of a batch, compared with the reference, which is the last solver of `asks`.

    Attributes:
        metric: The mean metric, in the task's unit.
        gap: Its difference from the reference's: absolute for an accuracy (0.1 for ten points), else relative to it.
        nfe: Evaluations of the field for each sample; NaN if unknown.
        loss_difference: The mean over the samples of the absolute difference of their losses (cross-entropy, nats); NaN
            without classes.
        flips: The share of samples whose predicted class differs; NaN without classes.
        strain: The deviation from the reference divided by the deviation that uses up a tolerance: at most one if all
            tolerances hold. It shrinks with the solver's error.
    """

    metric: float
    gap: float = 0.0
    nfe: float = math.nan
    loss_difference: float = math.nan
    flips: float = math.nan
    strain: float = math.nan


def readings(
    predictions: Sequence[Any], tolerances: Tolerances, scale: float | None = None, least: float | None = None
) -> tuple[Reading, ...]:
    """The readings of predictions of one batch, each compared with the last one.

    Args:
        predictions: `outputs` (n, ...), `metric`, `labels` ((n,) classes or None) and `stats`, one for each solver.
        tolerances: The unit of the strain.
        scale: Scale of a metric whose changes count absolutely: 100 for an accuracy in percent, 1 for a fraction. None
            if they count relative to the reference's value.
        least: The size of one unit of the data in the metric: relative changes are relative to at least this.
    """
    reference = predictions[-1]
    return tuple(_reading(prediction, reference, tolerances, scale, least) for prediction in predictions)


def _reading(own: Any, reference: Any, tolerances: Tolerances, scale: float | None, least: float | None) -> Reading:
    mine, theirs = np.asarray(own.outputs, np.float64), np.asarray(reference.outputs, np.float64)
    nfe = math.nan if own.stats is None or own.stats.nfe is None else float(np.mean(np.asarray(own.stats.nfe)))
    metric, gap = float(own.metric), _gap(own, reference, scale, least)
    if own.labels is None:
        return Reading(metric, gap, nfe, strain=_output_strain(gap, scale, _deviations(own, reference), tolerances))
    labels, mine, theirs = _two_classes_or_more(np.asarray(own.labels), mine, theirs)
    losses = [-scipy.special.log_softmax(logits, axis=-1)[np.arange(len(labels)), labels] for logits in (mine, theirs)]
    difference = float(np.mean(np.abs(losses[0] - losses[1])))
    flips = float(np.mean(mine.argmax(-1) != theirs.argmax(-1)))
    return Reading(metric, gap, nfe, difference, flips, _class_strain(mine, theirs, labels, tolerances))


def _two_classes_or_more(
    labels: np.ndarray, mine: np.ndarray, theirs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and logits; a single logit becomes the second of two classes."""
    if mine.ndim == 2 and mine.shape[1] > 1:
        return labels, mine, theirs
    pair = lambda logits: np.stack([np.zeros(len(logits)), logits.reshape(len(logits))], axis=1)
    return (labels > 0).astype(int), pair(mine), pair(theirs)


def _gap(own: Any, reference: Any, scale: float | None, least: float | None) -> float:
    """The difference of the metrics."""
    metric, best = float(own.metric), float(reference.metric)
    gap = abs(metric - best)
    if gap > 0:
        gap = gap / (scale or max(abs(best), least or np.finfo(np.float64).tiny))
    return gap if math.isfinite(gap) else math.inf


def _deviations(own: Any, reference: Any) -> np.ndarray:
    """The deviation of each sample's outputs from the reference's, (n,), as in a certificate; infinite for NaN."""
    mine, theirs = solved(own), solved(reference)
    if not (np.isfinite(mine.outputs).all() and np.isfinite(theirs.outputs).all()):
        return np.full(len(mine.outputs), math.inf)
    least = reference_tolerances(theirs.dtype)[0]
    scales = component_scales(theirs.outputs, theirs.mask, None, least, theirs.dtype)
    return sample_deviations(mine, theirs, scales)


def _output_strain(gap: float, scale: float | None, apart: np.ndarray, tolerances: Tolerances) -> float:
    """The larger of two strains: of the deviation that 95 % of the samples stay within, and of the metric.

    A relative change of the metric counts for at most the deviation of the outputs, as in a certificate.
    """
    outputs = float(np.quantile(apart, 0.95)) if np.isfinite(apart).all() else math.inf
    metric = gap if scale is not None else min(gap, rms(apart))
    return max(metric / tolerances.metric, outputs / tolerances.output)


def _class_strain(own: np.ndarray, reference: np.ndarray, labels: np.ndarray, tolerances: Tolerances) -> float:
    """The larger of two strains: of the share of flips, and of the accuracy.

    Scaled by s, the deviation of a sample from the reference flips its class at s = 1 / u, where u is the largest ratio
    of the deviation to the margin over another class. A strain is one over the scale at which the flips, or the net
    number of samples that become right or wrong, exceed the tolerance. Unlike their number at s = 1, it varies
    smoothly, and it is proportional to the error.
    """
    if not (np.isfinite(own).all() and np.isfinite(reference).all()):
        return math.inf
    used, overtakes = _margins_used(own, reference)
    order = np.argsort(-used, kind="stable")
    before, after = reference.argmax(-1) == labels, overtakes == labels
    lost, gained = np.cumsum((before & ~after)[order]), np.cumsum((after & ~before)[order])
    n = len(labels)
    bound = tolerances.sure and _net_bound(0, 0, n) <= tolerances.metric
    most = lambda: scipy.special.betaincinv(np.arange(n) + 2, np.arange(n, 0, -1) - 1, CONFIDENCE)
    flips = most() if bound else np.arange(1, n + 1) / n
    net = _net_bound(lost, gained, n) if bound else np.abs(gained - lost) / n
    strains = [0.0]
    for changed, tolerance in ((flips, tolerances.flips), (net, tolerances.metric)):
        beyond = np.flatnonzero(~(changed <= tolerance))
        if beyond.size:
            strains.append(float(used[order][beyond[0]]))
    return max(strains)


def _net_bound(lost: Any, gained: Any, n: int) -> Any:
    """The bound on the absolute change of an accuracy."""
    low, high = of_net_change(lost, gained, n)
    return np.maximum(-low, high)


def _margins_used(own: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each sample, the largest ratio of deviation to margin, and the class that it brings up, (n,)."""
    rows = np.arange(len(own))
    best = reference.argmax(-1)
    margin = reference[rows, best][:, None] - reference
    lost = margin - (own[rows, best][:, None] - own)
    with np.errstate(divide="ignore", invalid="ignore"):
        used = np.where(lost > 0, lost / margin, 0.0)
    used[rows, best] = -1.0
    return np.maximum(used.max(-1), 0.0), used.argmax(-1)

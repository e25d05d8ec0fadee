"""Spread: how much each component of the outputs varies, and the deviation between two predictions in that unit.

A component is an entry of the last axis of the outputs. The axes between samples and components (times, pixels) belong
to the same quantity in the same unit, so they are pooled with the samples.
"""

from typing import Any

import numpy as np

SAME = 1e-6
"""Outputs that deviate by at most this share of their spread are equal up to rounding."""

_NOISE = 10  # a spread counts if it is at least this many times the error of the reference
_ROUNDINGS = 8  # rounding error of a reference, in units in the last place
_TYPICAL = 0.95  # the share of samples that sets the scale if a few extreme samples dominate the standard deviation


def component_scales(
    reference: np.ndarray,
    mask: np.ndarray | None,
    error: np.ndarray | None,
    tolerance: float,
    dtype: Any,
) -> np.ndarray:
    """The unit of deviations of each component, (k,): its standard deviation, pooled over samples and times.

    If a few extreme samples dominate the standard deviation, the scale is the distance from the median that 95 % of the
    samples stay within. A component that does not vary in the reference, up to the reference's own error, has no
    spread: its scale is its magnitude; the largest scale of the other components if that is zero too; 1 if all of them
    are zero. If the error of the reference is larger than its tolerance explains, the spread counts unchanged.

    Args:
        reference: The outputs, (n, ..., k).
        mask: Which of them count; None for all.
        error: The possible error of the reference in each component, (k,); None for the error its tolerance explains.
        tolerance: The relative tolerance of the reference.
        dtype: The dtype in which the model computes.
    """
    flat = reference.reshape(len(reference), -1, reference.shape[-1])
    counted = np.ones(flat.shape, bool) if mask is None else mask.reshape(flat.shape)
    pairs = [_spread_and_magnitude(flat[..., k], counted[..., k]) for k in range(flat.shape[-1])]
    spread, magnitude = np.array(pairs).reshape(-1, 2).T
    error = tolerance * magnitude if error is None else error
    rounding = _ROUNDINGS * float(np.finfo(dtype).eps)
    varies = spread > np.maximum(_NOISE * error, rounding * magnitude)
    constant = ~varies & (magnitude > 0) & (error <= _NOISE * tolerance * magnitude)
    largest = float(np.max(np.where(varies, spread, magnitude), where=varies | constant, initial=0.0))
    zero = ~varies & ~constant & ((error == 0) | (error <= rounding * largest))
    unresolved = np.maximum(spread, error)  # so that a disagreement of the references is detected
    return np.select([varies, constant, zero], [spread, magnitude, largest or 1.0], unresolved)


def _spread_and_magnitude(values: np.ndarray, counted: np.ndarray) -> tuple[float, float]:
    """Spread and magnitude of one component (n, times), over the entries that count; zeros if there are none."""
    largest = float(np.max(np.abs(values), where=counted, initial=0.0))  # divide by it first: squares overflow
    if largest == 0:
        return 0.0, 0.0
    values = values / largest
    centred = np.where(counted, values - np.median(values[counted]), 0.0)  # exactly zero if all are equal
    std = float(np.std(centred[counted]))
    times = counted.sum(axis=1)
    seen = times > 0
    distances = np.sqrt(np.sum(centred[seen] ** 2, axis=1) / times[seen])
    typical = float(np.quantile(distances, _TYPICAL))
    return largest * (min(std, typical) if typical > 0 else std), largest * rms(values[counted])


def component_differences(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """The root mean square difference of each component over samples and times, (k,); zero if nothing counts."""
    apart = np.abs(a - b).reshape(-1, a.shape[-1])
    counted = np.ones(apart.shape, bool) if mask is None else mask.reshape(apart.shape)
    largest = np.max(apart, axis=0, where=counted, initial=0.0)
    share = np.divide(apart, largest, out=np.zeros(apart.shape), where=largest > 0)
    return largest * np.sqrt(np.sum(share**2, axis=0, where=counted) / np.maximum(counted.sum(axis=0), 1))


def deviations(a: np.ndarray, b: np.ndarray, scales: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """The deviation between the outputs of each sample, (n,): the largest difference over its scale, of all entries.

    The largest, not the mean: components that agree must not hide one that does not.
    """
    apart = np.abs(a - b) if mask is None else np.where(mask, np.abs(a - b), 0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        relative = np.where(apart == 0, 0.0, apart / scales)
    return relative.reshape(len(a), -1).max(axis=1, initial=0.0)


def rms(values: np.ndarray) -> float:
    """The root mean square, without overflow."""
    largest = float(np.max(np.abs(values), initial=0.0))
    return largest * float(np.sqrt(np.mean(np.square(values / largest)))) if 0 < largest < np.inf else largest


def without_common_shift(logits: np.ndarray) -> np.ndarray:
    """Logits without the shift that all classes of a sample share, which softmax ignores; a single logit unchanged."""
    return logits if logits.shape[-1] == 1 else logits - logits.mean(axis=-1, keepdims=True)

"""Forecast: how far ahead the forecasts of an identified field are valid, and whether they stay on the attractor."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy  # which imports each of its parts when it is used
from jaxtyping import Bool, Float

VALID = 0.4
"""The largest root mean square error over the components, in standard deviations, of a valid forecast
(Pathak, Hunt, Girvan, Lu, Ott, Phys. Rev. Lett. 120, 024102, 2018, whose error is the same up to its scale)."""

FARTHEST = 100.0
"""Standard deviations from the mean beyond which a forecast counts as divergent."""


def describe(
    truth: Float[np.ndarray, "n times d"],
    found: Float[np.ndarray, "n times d"],
    training: Float[np.ndarray, "m d"],
    interval: float,
    lyapunov: float | None,
    names: Sequence[str],
) -> dict[str, Any]:
    """The quality of n forecasts of standardised states.

    Args:
        truth: The observations; time 0 is the start.
        found: The forecasts; NaN for missing numbers.
        training: The training states.
        interval: The time between two observations.
        lyapunov: The system's largest Lyapunov exponent, the unit of valid prediction times; or None.
        names: The names of the components.

    Returns:
        Strict JSON, the numbers in standard deviations of the training data:

        - `lead`, `rmse`: lead times, and the error there over all forecasts and components; null from the lead time on
          at which a forecast has diverged.
        - `diverged`: how many of `forecasts` have diverged by the end; `first_divergence`: the earliest lead time, or
          null.
        - `valid`: the longest lead time up to which each forecast is valid, its median, and how many are valid to the
          end.
        - `attractor`: the errors of means and standard deviations of the components (root mean square over the
          components), the distance of their histograms (Wasserstein-1, the mean over the components), and as `chance`
          the same distance between training and test data; null if a forecast has diverged.
        - `example`: the first forecast and its truth.
    """
    lost = diverged(found)
    gone = np.any(lost, axis=0)
    squares = np.mean((np.where(lost[..., None], 0.0, found) - truth) ** 2, axis=2)
    rmse = np.sqrt(squares.mean(axis=0))
    lead = interval * np.arange(truth.shape[1])
    bad = lost | (np.sqrt(squares) > VALID)
    valid = lead[np.where(bad.any(axis=1), bad.argmax(axis=1) - 1, len(lead) - 1)]
    return {
        "forecasts": len(truth),
        "lead": lead[1:].tolist(),
        "rmse": [None if out else float(e) for e, out in zip(rmse[1:], gone[1:], strict=True)],
        "diverged": int(lost[:, -1].sum()),
        "first_divergence": float(lead[gone.argmax()]) if gone.any() else None,
        "valid": {
            "times": valid.tolist(),
            "median": float(np.median(valid)),
            "whole": int((~bad.any(axis=1)).sum()),
            "lyapunov": lyapunov,
        },
        "attractor": None if gone.any() else _attractor(truth[:, 1:], found[:, 1:], training),
        "example": {"names": list(names), "truth": truth[0].tolist(), "found": _plain(found[0], lost[0])},
    }


def diverged(found: Float[np.ndarray, "n times d"]) -> Bool[np.ndarray, "n times"]:
    """From which time on each forecast is not a number, or beyond the limit."""
    with np.errstate(invalid="ignore"):
        out = ~(np.abs(found).max(axis=2) <= FARTHEST)
    return np.logical_or.accumulate(out, axis=1)


def _plain(states: Float[np.ndarray, "times d"], lost: Bool[np.ndarray, " times"]) -> list[list[float]]:
    """The states up to their divergence."""
    return states[~lost].tolist()


def _attractor(truth: np.ndarray, found: np.ndarray, training: np.ndarray) -> dict[str, float]:
    flat = lambda x: x.reshape(-1, x.shape[-1])
    truth, found = flat(truth), flat(found)
    rms = lambda x: float(np.sqrt(np.mean(x**2)))
    return {
        "mean": rms(found.mean(axis=0) - truth.mean(axis=0)),
        "std": rms(found.std(axis=0) - truth.std(axis=0)),
        "distance": _distance(found, truth),
        "chance": _distance(training, truth),
    }


def _distance(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> float:
    return float(np.mean([scipy.stats.wasserstein_distance(x, y) for x, y in zip(a.T, b.T, strict=True)]))

"""Forecast: how far ahead the forecasts of an identified field are valid, and whether they stay on the attractor."""

from typing import Any

import numpy as np
import scipy  # which imports each of its parts when it is used
from jaxtyping import Bool, Float

from ...data.systems.trajectory import Source
from ...data.systems.windows import Scaling, observed_mean

VALID = 0.4
"""The largest root mean square error over the components, in standard deviations, of a valid forecast
(Pathak, Hunt, Girvan, Lu, Ott, Phys. Rev. Lett. 120, 024102, 2018, whose error is the same up to its scale)."""

FARTHEST = 100.0
"""Standard deviations from the mean beyond which a forecast counts as divergent."""


def describe(
    truth: Float[np.ndarray, "n times d"],
    found: Float[np.ndarray, "n times d"],
    training: Float[np.ndarray, "m d"],
    scaling: Scaling,
    lyapunov: float | None,
    source: Source,
) -> dict[str, Any]:
    """The quality of n forecasts of standardised states.

    Args:
        truth: The observations; time 0 is the start, NaN what is missing.
        found: The forecasts; NaN for missing numbers.
        training: The training states.
        scaling: Of the data: the time between two observations, and the standard deviations.
        lyapunov: The system's largest Lyapunov exponent, the unit of valid prediction times; or None.
        source: The names of time and components.

    Returns:
        Strict JSON, the numbers in standard deviations of the training data:

        - `unit`: of the times; null if it is not known.
        - `lead`, `rmse`: lead times, and the error there over all forecasts and components; null from the lead time on
          at which a forecast has diverged.
        - `diverged`: how many of `forecasts` have diverged by the end; `first_divergence`: the earliest lead time, or
          null.
        - `valid`: the longest lead time up to which each forecast is valid, its median, and how many are valid to the
          end.
        - `attractor`: the errors of means and standard deviations of the components (root mean square over the
          components), the distance of their histograms (Wasserstein-1, the mean over the components), and as `chance`
          the same distance between training and test data; null if a forecast has diverged.
        - `example`: the first forecast and its truth in the data's own units, null where nothing is observed; the
          names of time and components, and their standard deviations.
    """
    lost = diverged(found)
    gone = np.any(lost, axis=0)
    apart = (np.where(lost[..., None], 0.0, found) - truth) ** 2
    squares, rmse = observed_mean(apart, (2,)), np.sqrt(observed_mean(apart, (0, 2)))
    lead = scaling.interval * np.arange(truth.shape[1])
    own = lambda states: _plain(scaling.mean + scaling.std * states)
    bad = lost | (np.sqrt(squares) > VALID)
    valid = lead[np.where(bad.any(axis=1), bad.argmax(axis=1) - 1, len(lead) - 1)]
    return {
        "forecasts": len(truth),
        "unit": source.unit,
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
        "example": {
            "time": source.time,
            "names": list(source.states),
            "sd": scaling.std.tolist(),
            "truth": own(truth[0]),
            "found": own(found[0][~lost[0]]),
        },
    }


def diverged(found: Float[np.ndarray, "n times d"]) -> Bool[np.ndarray, "n times"]:
    """From which time on each forecast is not a number, or beyond the limit."""
    with np.errstate(invalid="ignore"):
        out = ~(np.abs(found).max(axis=2) <= FARTHEST)
    return np.logical_or.accumulate(out, axis=1)


def _plain(states: Float[np.ndarray, "times d"]) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(value) for value in state] for state in states]


def _attractor(truth: np.ndarray, found: np.ndarray, training: np.ndarray) -> dict[str, float]:
    flat = lambda x: x.reshape(-1, x.shape[-1])
    truth, found = flat(truth), flat(found)
    found = np.where(np.isnan(truth), np.nan, found)
    rms = lambda x: float(np.sqrt(np.mean(x**2)))
    mean, std = observed_mean, lambda x: np.sqrt(observed_mean((x - observed_mean(x)) ** 2))
    return {
        "mean": rms(mean(found) - mean(truth)),
        "std": rms(std(found) - std(truth)),
        "distance": _distance(found, truth),
        "chance": _distance(training, truth),
    }


def _distance(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> float:
    seen = lambda x: x[~np.isnan(x)]
    pairs = [(seen(x), seen(y)) for x, y in zip(a.T, b.T, strict=True)]
    return float(np.mean([scipy.stats.wasserstein_distance(x, y) for x, y in pairs if len(x) and len(y)]))

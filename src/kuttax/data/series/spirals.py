"""Spirals: noisy spirals in the plane, clockwise or anticlockwise, observed at random times and with gaps."""

import numpy as np

from .labelled import Labelled, padded

NAMES = ("x", "y")
CLASSES = ("clockwise", "anticlockwise")
_TIMES = 24, 49  # observations of a series, the second number excluded
_SPAN = 10.0


def generate(samples: int, noise: float, gaps: float, seed: int) -> Labelled:
    """Spirals r (cos(p + d w t), sin(p + d w t)), whose radius r moves linearly in t; the class is the direction d.

    After the toy data of diffrax's example of a neural CDE. Phases p are uniform on the circle, angular velocities w
    uniform in 0.1 to 0.6 per unit of time, and radii uniform in 0.3 to 1.5 at the first and at the last time. A series
    has 24 to 48 observations at uniformly drawn times of [0, 10]. Half of them turn clockwise, d = -1, class 0.

    Args:
        samples: The number of series.
        noise: Standard deviation of the noise on each value.
        gaps: The probability that a value is missing.
        seed: Seed of all random draws.
    """
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(samples) % 2)
    series = [_one(rng, direction, noise, gaps) for direction in 2 * y - 1]
    return padded([t for t, _ in series], [x for _, x in series], y.astype(np.int32))


def _one(rng: np.random.Generator, direction: int, noise: float, gaps: float) -> tuple[np.ndarray, np.ndarray]:
    t = np.sort(rng.uniform(0, _SPAN, rng.integers(*_TIMES)))
    phase, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.6)
    first, last = rng.uniform(0.3, 1.5, 2)
    radius, angle = first + (last - first) * t / _SPAN, phase + direction * speed * t
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    x = x + noise * rng.standard_normal(x.shape)
    return t, np.where(rng.random(x.shape) < gaps, np.nan, x)

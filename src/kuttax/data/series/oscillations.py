"""Oscillations: damped oscillations at random times, with noise."""

import numpy as np

from ...errors import UserError
from .series import Observed

SPAN = 5.0
"""The time span."""
ROUNDING = 0.1
"""Times are multiples of this."""
NAMES = ("position", "velocity")


def generate(samples: int, noise: float, seed: int) -> list[Observed]:
    """Oscillations a exp(-c t) (cos(w t + p), -sin(w t + p)), each observed at 15 to 35 random times.

    After the toy data of Rubanova, Chen & Duvenaud (NeurIPS 2019): periodic trajectories, irregularly sampled on [0,
    5]. Amplitudes a are uniform in 0.5 to 1.5, damping rates c in 0 to 0.4, frequencies w in 2 to 4, and phases p on
    the whole circle. Times are multiples of 0.1, each at most once; at each time one of the two features is observed,
    or the other, or (half of the time) both.

    Args:
        samples: The number of series.
        noise: Standard deviation of the noise on each value.
        seed: Seed of all random draws.

    Raises:
        UserError: A number is out of its range.
    """
    if samples < 1:
        raise UserError(f"samples must be >= 1, got {samples}")
    if not noise >= 0:
        raise UserError(f"noise must be >= 0, got {noise}")
    rng, grid = np.random.default_rng(seed), ROUNDING * np.arange(round(SPAN / ROUNDING) + 1)
    return [_one(rng, grid, noise) for _ in range(samples)]


def _one(rng: np.random.Generator, grid: np.ndarray, noise: float) -> Observed:
    a, c, w, p = rng.uniform([0.5, 0.0, 2.0, 0.0], [1.5, 0.4, 4.0, 2 * np.pi])
    t = np.sort(rng.choice(grid, rng.integers(15, 36), replace=False))
    envelope, angle = a * np.exp(-c * t), w * t + p
    x = np.stack([envelope * np.cos(angle), -envelope * np.sin(angle)], axis=1)
    x = x + noise * rng.standard_normal(x.shape)
    which = rng.integers(0, 4, len(t))
    return Observed(t, x, np.stack([which != 0, which != 1], axis=1))

"""Distributions in the plane that densities are learned on: moons, circles, checkerboard, pinwheel, eight Gaussians.

The shapes and scales are those of Grathwohl et al. (FFJORD, ICLR 2019, arXiv 1810.01367).
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from ...errors import UserError
from .points import PointSplits, points

Plane = Float[np.ndarray, "n 2"]


def _moons(n: int, rng: np.random.Generator) -> Plane:
    """Two half circles that reach into each other, noise 0.1, times 2."""
    angle, lower = np.pi * rng.random(n), rng.random(n) < 0.5
    x = np.where(lower, 1 - np.cos(angle), np.cos(angle))
    y = np.where(lower, 0.5 - np.sin(angle), np.sin(angle))
    return 2 * (np.stack([x, y], axis=1) + 0.1 * rng.standard_normal((n, 2))) + np.array([-1.0, -0.2])


def _circles(n: int, rng: np.random.Generator) -> Plane:
    """Two circles of radius 1 and 1/2 around the origin, noise 0.08, times 3."""
    angle, radius = 2 * np.pi * rng.random(n), np.where(rng.random(n) < 0.5, 1.0, 0.5)
    circle = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return 3 * (circle + 0.08 * rng.standard_normal((n, 2)))


def _checkerboard(n: int, rng: np.random.Generator) -> Plane:
    """Uniform on every second one of 4 x 4 squares of side 2: the entropy is log 32."""
    x = rng.uniform(-2, 2, n)
    y = rng.random(n) - 2 * rng.integers(0, 2, n) + np.floor(x) % 2
    return 2 * np.stack([x, y], axis=1)


def _pinwheel(n: int, rng: np.random.Generator) -> Plane:
    """Five arms that a turn of 0.25 exp(radius) bends."""
    arm = 2 * np.pi * rng.integers(0, 5, n) / 5
    along, across = 1 + 0.3 * rng.standard_normal(n), 0.1 * rng.standard_normal(n)
    angle = arm + 0.25 * np.exp(along)
    cos, sin = np.cos(angle), np.sin(angle)
    return 2 * np.stack([along * cos + across * sin, across * cos - along * sin], axis=1)


def _eight_gaussians(n: int, rng: np.random.Generator) -> Plane:
    """Eight normal distributions of standard deviation 0.5 / sqrt(2) on a circle of radius 4 / sqrt(2)."""
    angle = 2 * np.pi * rng.integers(0, 8, n) / 8
    centre = 4 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return (centre + 0.5 * rng.standard_normal((n, 2))) / np.sqrt(2)


TOYS: dict[str, Callable[[int, np.random.Generator], Plane]] = {
    "moons": _moons,
    "circles": _circles,
    "checkerboard": _checkerboard,
    "pinwheel": _pinwheel,
    "8gaussians": _eight_gaussians,
}
"""Name -> what draws n points of it."""


def load(name: str, train: int = 10_000, validation: int = 2048, test: int = 8192, seed: int = 0) -> PointSplits:
    """Draws the three sets, each from a separate random stream of the seed.

    Args:
        name: One of `TOYS`.
        train, validation, test: Samples of each, at least 1.
        seed: Decides all of them.

    Raises:
        UserError: If there is no such toy, or a number is below its least value.
    """
    if name not in TOYS:
        raise UserError(f"unknown toy {name!r}; known: {', '.join(TOYS)}")
    sizes = {"train": train, "validation": validation, "test": test}
    for part, size in sizes.items():
        if size < 1:
            raise UserError(f"{name}: {part} samples must be >= 1, got {size}")
    if seed < 0:
        raise UserError(f"{name}: seed must be >= 0, got {seed}")
    draw = TOYS[name]
    return PointSplits(
        *(points(name, draw(size, np.random.default_rng((seed, i)))) for i, size in enumerate(sizes.values()))
    )

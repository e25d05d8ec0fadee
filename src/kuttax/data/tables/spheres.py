"""Concentric spheres: three shells around the origin, the middle one of the other class."""

import numpy as np

from ...errors import UserError
from ..dataset import Dataset

SHELLS = ((0.10, 0.15, 0), (0.25, 0.30, 1), (0.40, 0.45, 0))
"""Inner radius, outer radius and class; the middle shell holds half of the samples, each other one a quarter."""

_TRAIN, _TEST = 0, 1  # which stream of the seed


def load(dimension: int = 2, train: int = 2000, test: int = 1000, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Draws the data set of Ott, Katiyar, Hennig, Tiemann (ICLR 2021, arXiv 2007.15386), "Sphere2" for dimension 2.

    Directions are uniform on the sphere. The radius in a shell from r to R in d dimensions is r + (R - r) u^(1/d) with
    u uniform in [0, 1], as the paper's program draws it (after Dupont et al. 2019): uniform in the shell only nearly.

    Args:
        dimension: d, at least 2: in one dimension a shell is two points.
        train: Samples of the training set, at least 4.
        test: Samples of the test set, at least 4.
        seed: Decides all of them, training and test set from streams of their own.

    Returns:
        Training set and test set: `x` float32 of shape `(n, d)`; `y` int32, 0 or 1; sorted by shell.

    Raises:
        UserError: If a number is below its least value.
    """
    for name, value, least in (("dimension", dimension, 2), ("train", train, 4), ("test", test, 4), ("seed", seed, 0)):
        if value < least:
            raise UserError(f"spheres: {name} must be >= {least}, got {value}")
    return _draw(dimension, train, (seed, _TRAIN)), _draw(dimension, test, (seed, _TEST))


def _draw(dimension: int, samples: int, seed: tuple[int, int]) -> Dataset:
    rng = np.random.default_rng(seed)
    quarter = samples // 4
    counts = (quarter, samples - 2 * quarter, quarter)
    points = [_shell(rng, n, dimension, low, high) for n, (low, high, _) in zip(counts, SHELLS, strict=True)]
    classes = np.repeat([label for _, _, label in SHELLS], counts)
    return Dataset(np.concatenate(points).astype(np.float32), classes.astype(np.int32))


def _shell(rng: np.random.Generator, samples: int, dimension: int, low: float, high: float) -> np.ndarray:
    radius = low + (high - low) * rng.random((samples, 1)) ** (1 / dimension)
    direction = rng.standard_normal((samples, dimension))
    return radius * direction / np.linalg.norm(direction, axis=1, keepdims=True)

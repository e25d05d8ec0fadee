"""scikit-learn's handwritten digits: 1797 images of 8x8, embedded in the package, no download."""

import numpy as np

from ...errors import UserError
from ..dataset import Dataset
from ..splits import split_off
from ..tables.points import Points, PointSplits, points

TEST_FRACTION = 0.2
TEST_SEED = 20210503
"""This set has no official test part. Ours is a stratified fifth, fixed: no option changes it."""


def load() -> tuple[Dataset, Dataset]:
    """Loads the digits (Alpaydin and Kaynak, UCI machine learning repository, 1998).

    Returns:
        Training set (1437 samples) and test set (360 samples): `x` float32 in [0, 1], shape `(n, 1, 8, 8)`; `y` int32
        in 0 to 9, shape `(n,)`.
    """
    from sklearn.datasets import load_digits  # not at the top: kuttax would take twice as long to import

    pixels, labels = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, 1, 8, 8) / 16.0).astype(np.float32)
    return split_off(Dataset(images, labels.astype(np.int32)), TEST_FRACTION, TEST_SEED, name="test")


def load_dequantised(
    validation_fraction: float = 0.2, seed: int = 0, copies: int = 8, squeeze: float = 0.05
) -> PointSplits:
    """The digits for density estimation: uniform noise in place of rounding, mapped to the real line.

    A pixel k of 0 to 16 becomes s = squeeze + (1 - 2 squeeze) (k + u) / 17 with u uniform in [0, 1], and x = log s /
    (1 - s) (Dinh, Sohl-Dickstein & Bengio, Density estimation using Real NVP, ICLR 2017, section 4.1). `log_det` leads
    from x back to k + u, whose log-density bounds from below, in the mean, that of the pixels (Theis, van den Oord &
    Bethge, ICLR 2016).

    Args:
        validation_fraction: Share of the training images that become validation data.
        seed: Decides which these are, and the noise.
        copies: Draws of the noise for each training image.
        squeeze: How far s stays from 0 and 1, below 1/2.

    Returns:
        Points of 64 columns: training (`copies` rows for each image), validation and test.

    Raises:
        UserError: If there is no copy, or the fraction is outside (0, 1).
    """
    if copies < 1:
        raise UserError(f"copies must be >= 1, got {copies}")
    train, test = load()
    rest, validation = split_off(train, validation_fraction, seed, name="validation")
    streams = np.random.default_rng(seed).spawn(3)
    counts = (copies, 1, 1)
    parts = zip((rest, validation, test), counts, streams, strict=True)
    return PointSplits(*(_dequantised(part.x, count, rng, squeeze) for part, count, rng in parts))


def _dequantised(images: np.ndarray, copies: int, rng: np.random.Generator, squeeze: float) -> Points:
    levels = np.repeat(np.rint(16 * images.reshape(len(images), -1)).astype(np.float64), copies, axis=0)
    s = squeeze + (1 - 2 * squeeze) * (levels + rng.random(levels.shape)) / 17
    slope = (1 - 2 * squeeze) / 17 / (s * (1 - s))
    return points("digits", np.log(s) - np.log1p(-s), np.log(slope).sum(axis=1))

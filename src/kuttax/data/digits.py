"""scikit-learn's handwritten digits: 1797 images of 8x8, embedded in the package, no download."""

import numpy as np
from sklearn.datasets import load_digits

from .dataset import Dataset
from .splits import split_off

TEST_FRACTION = 0.2
TEST_SEED = 20210503
"""This set has no official test part. Ours is a stratified fifth, fixed for good: no option changes it."""


def load() -> tuple[Dataset, Dataset]:
    """Loads the digits (Alpaydin and Kaynak, UCI machine learning repository, 1998).

    Returns:
        Training set (1437 samples) and test set (360 samples): `x` float32 in [0, 1], shape `(n, 1, 8, 8)`; `y` int32
        in 0 to 9, shape `(n,)`.
    """
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, 1, 8, 8) / 16.0).astype(np.float32)
    return split_off(Dataset(images, labels.astype(np.int32)), TEST_FRACTION, TEST_SEED, name="test")

"""The images: MNIST and CIFAR-10, from files that `kuttax train mnist|cifar10 --data-dir` reads too."""

from pathlib import Path

import numpy as np
import torch

FILES = {"mnist": "mnist10k.npz", "cifar10": "cifar10_10k.npz"}
SHAPES = {"mnist": (1, 28), "cifar10": (3, 32)}  # channels, size


def load(name: str, directory: Path) -> dict[str, torch.Tensor]:
    """`x_train`, `x_test` (n, channels, size, size) in [-1, 1], and `y_train`, `y_test`."""
    with np.load(directory / FILES[name]) as file:
        arrays = {part: file[part] for part in ("x_train", "y_train", "x_test", "y_test")}
    channels, size = SHAPES[name]
    pixels = lambda x: np.moveaxis(x.reshape(-1, size, size, channels), 3, 1).astype(np.float32) / 127.5 - 1
    images = {part: torch.from_numpy(pixels(arrays[part])) for part in ("x_train", "x_test")}
    return images | {part: torch.from_numpy(arrays[part].astype(np.int64).ravel()) for part in ("y_train", "y_test")}

"""MNIST: 60,000 training and 10,000 test images of handwritten digits, 28x28 (LeCun, Cortes, Burges, 1998)."""

from pathlib import Path

import numpy as np

from ...errors import UserError
from ..dataset import Dataset, check_dataset
from ..files.download import cache
from ..files.download import download as download_file
from ..files.npz import read_npz
from .idx import read_idx

URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
NPZ_NAMES = ("mnist.npz", "mnist10k.npz")
NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")
IDX_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
CLASSES = 10


def load(data_dir: str | Path | None = None) -> tuple[Dataset, Dataset]:
    """Loads MNIST from a directory, or downloads it once into the user's cache.

    Args:
        data_dir: A directory that holds `mnist.npz` or `mnist10k.npz` (a part of it) with Keras' keys, or the four IDX
            files, gzipped or not; the first of these that is there is read. None downloads Keras' file and checks its
            SHA-256.

    Returns:
        Training set and test set: `x` float32 in [0, 1], shape `(n, 1, 28, 28)`; `y` int32 in 0 to 9, shape `(n,)`.

    Raises:
        UserError: If the directory has no data, a file is truncated, corrupt or not MNIST, or the download fails.
    """
    if data_dir is None:
        return _load_npz(download(URL, SHA256, cache()))
    directory = Path(data_dir).expanduser()
    if not directory.is_dir():
        what = "is not a directory" if directory.exists() else "does not exist"
        raise UserError(f"data directory {directory} {what}; leave it out to download MNIST")
    for name in NPZ_NAMES:
        if (directory / name).is_file():
            return _load_npz(directory / name)
    return _load_idx(directory)


def download(url: str, sha256: str, directory: str | Path) -> Path:
    """Downloads `url` into `directory` unless it is there with the right checksum; keeps nothing that fails it.

    Raises:
        UserError: If the network, the server or the disk fails, or what arrives has another checksum.
    """
    instead = "or give a data directory with mnist.npz"
    return download_file(url, f"sha256:{sha256}", "mnist.npz", directory, instead)


def _load_npz(path: Path) -> tuple[Dataset, Dataset]:
    x_train, y_train, x_test, y_test = read_npz(path, NPZ_KEYS)
    return (
        _to_dataset(x_train, y_train, f"{path}: x_train", f"{path}: y_train"),
        _to_dataset(x_test, y_test, f"{path}: x_test", f"{path}: y_test"),
    )


def _load_idx(directory: Path) -> tuple[Dataset, Dataset]:
    paths = [_find_idx(directory, name) for name in IDX_NAMES]
    missing = [name for name, path in zip(IDX_NAMES, paths, strict=True) if path is None]
    if missing:
        raise UserError(
            f"data directory {directory} holds neither {' nor '.join(NPZ_NAMES)} nor the IDX files "
            f"{', '.join(missing)} (.gz or not); put them there or leave the directory out to download MNIST"
        )
    found = [path for path in paths if path is not None]
    x_train, y_train, x_test, y_test = (read_idx(path) for path in found)
    return (
        _to_dataset(x_train, y_train, str(found[0]), str(found[1])),
        _to_dataset(x_test, y_test, str(found[2]), str(found[3])),
    )


def _find_idx(directory: Path, name: str) -> Path | None:
    return next((path for path in (directory / name, directory / f"{name}.gz") if path.is_file()), None)


def _to_dataset(images: np.ndarray, labels: np.ndarray, images_name: str, labels_name: str) -> Dataset:
    if images.ndim != 3 or images.shape[1:] != (28, 28) or len(images) == 0:
        raise UserError(f"{images_name} has shape {images.shape}, expected (n, 28, 28), n >= 1; give MNIST's images")
    if labels.shape != (len(images),):
        raise UserError(f"{labels_name} has shape {labels.shape}, expected ({len(images)},): one label for each image")
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{labels_name} has dtype {labels.dtype}, expected integers in 0..{CLASSES - 1}")
    outside = np.flatnonzero((labels < 0) | (labels >= CLASSES))
    if len(outside):
        row = outside[0]
        raise UserError(f"{labels_name} holds label {labels[row]} in row {row}; labels must lie in 0..{CLASSES - 1}")
    scaled = _scale(images, images_name)
    return check_dataset(images_name, Dataset(scaled[:, None], labels.astype(np.int32)))


def _scale(images: np.ndarray, name: str) -> np.ndarray:
    """Maps integers from 0..255 to [0, 1]; floats must already be in [0, 1], because their scale is unknown."""
    if np.issubdtype(images.dtype, np.integer):
        top = 255
    elif np.issubdtype(images.dtype, np.floating):
        top = 1
    else:
        raise UserError(f"{name} has dtype {images.dtype}, expected integers in 0..255 or floats in [0, 1]")
    # NaN and infinity pass here; check_dataset refuses them with their row.
    outside = np.isfinite(images) & ((images < 0) | (images > top))
    if outside.any():
        row = int(np.argwhere(outside)[0, 0])
        raise UserError(f"{name} ({images.dtype}) holds {images[outside][0]} in row {row}; it must lie in [0, {top}]")
    return images.astype(np.float32) / np.float32(top)

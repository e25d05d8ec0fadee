"""CIFAR-10: 50,000 training and 10,000 test images of ten kinds of things, 32x32 in colour (Krizhevsky 2009)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...errors import UserError
from ..dataset import Dataset
from ..files.archive import files
from ..files.download import cache, download
from ..files.npz import read_npz
from .folder import existing
from .pixels import to_dataset

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
ARCHIVE = "cifar-10-binary.tar.gz"
NPZ_NAMES = ("cifar10.npz", "cifar10_10k.npz")
NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")
TRAIN, TEST = tuple(f"data_batch_{i}.bin" for i in range(1, 6)), ("test_batch.bin",)
CLASSES, SIDE = 10, 32
_RECORD = 1 + 3 * SIDE**2  # the label, then the red, the green and the blue pixels
_MOST_BYTES = 1 << 28  # of the unpacked archive, which has 184 MB


def load(data_dir: str | Path | None = None) -> tuple[Dataset, Dataset]:
    """Loads CIFAR-10 from a directory, or downloads it once into the user's cache.

    Args:
        data_dir: A directory that holds `cifar10.npz` or `cifar10_10k.npz` (a part of it) with Keras' keys and images
            (n, 32, 32, 3), or the archive of the binary version, or its files; the first of these that is there is
            read. None downloads the archive and checks its SHA-256. The Python version, which is pickled, is not read.

    Returns:
        Training set and test set: `x` float32 in [0, 1], shape `(n, 3, 32, 32)`; `y` int32 in 0 to 9, shape `(n,)`.

    Raises:
        UserError: If the directory has no data, a file is truncated, corrupt or not CIFAR-10, or the download fails.
    """
    if data_dir is None:
        instead = f"or give a data directory with {NPZ_NAMES[0]}"
        return _from_archive(download(URL, f"sha256:{SHA256}", ARCHIVE, cache(), instead))
    directory = existing(data_dir, "CIFAR-10")
    for name in NPZ_NAMES:
        if (directory / name).is_file():
            return _from_npz(directory / name)
    if (directory / ARCHIVE).is_file():
        return _from_archive(directory / ARCHIVE)
    found = {name: directory / name for name in (*TRAIN, *TEST) if (directory / name).is_file()}
    if not found:
        raise UserError(
            f"data directory {directory} holds neither {' nor '.join(NPZ_NAMES)} nor {ARCHIVE} nor {TRAIN[0]}; put one "
            "of them there or leave the directory out to download CIFAR-10"
        )
    return _from_batches({name: path.read_bytes() for name, path in found.items()}, directory)


def _from_npz(path: Path) -> tuple[Dataset, Dataset]:
    x_train, y_train, x_test, y_test = read_npz(path, NPZ_KEYS)
    flat = lambda y: y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y  # Keras' labels are a column
    return (
        _dataset(x_train, flat(y_train), f"{path}: x_train", f"{path}: y_train"),
        _dataset(x_test, flat(y_test), f"{path}: x_test", f"{path}: y_test"),
    )


def _from_archive(path: Path) -> tuple[Dataset, Dataset]:
    names = {*TRAIN, *TEST}
    found = {Path(name).name: file.read() for name, file in files(path, _MOST_BYTES) if Path(name).name in names}
    return _from_batches(found, path)


def _from_batches(found: Mapping[str, bytes], where: Path) -> tuple[Dataset, Dataset]:
    missing = [name for name in (*TRAIN, *TEST) if name not in found]
    if missing:
        raise UserError(f"{where}: lacks {', '.join(missing)} of CIFAR-10's binary version; fetch it again")
    train, test = (_batches(found, names, where) for names in (TRAIN, TEST))
    return train, test


def _batches(found: Mapping[str, bytes], names: tuple[str, ...], where: Path) -> Dataset:
    for name in names:
        if len(found[name]) == 0 or len(found[name]) % _RECORD:
            held = f"{len(found[name])} bytes, not a multiple of {_RECORD}"
            raise UserError(f"{where}: {name} holds {held}; it is truncated or of another set: fetch it again")
    records = np.frombuffer(b"".join(found[name] for name in names), np.uint8).reshape(-1, _RECORD)
    images = np.moveaxis(records[:, 1:].reshape(-1, 3, SIDE, SIDE), 1, 3)
    said = f"{where}: {names[0]}"
    return _dataset(images, records[:, 0], said, said)


def _dataset(images: np.ndarray, labels: np.ndarray, images_name: str, labels_name: str) -> Dataset:
    return to_dataset(images, labels, images_name, labels_name, shape=(SIDE, SIDE, 3), classes=CLASSES)

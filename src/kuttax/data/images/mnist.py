"""MNIST: 60,000 training and 10,000 test images of handwritten digits, 28x28 (LeCun, Cortes, Burges, 1998).

Fashion-MNIST has the same form: articles of clothing (Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747).
"""

from pathlib import Path

import numpy as np

from ...errors import UserError
from ..dataset import Dataset
from ..files.download import cache
from ..files.download import download as download_file
from ..files.npz import read_npz
from .folder import existing
from .idx import read_idx
from .pixels import to_dataset

URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
NPZ_NAMES = ("mnist.npz", "mnist10k.npz")
NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")
IDX_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
FASHION_URL = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion"
FASHION_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
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
    directory = existing(data_dir, "MNIST")
    for name in NPZ_NAMES:
        if (directory / name).is_file():
            return _load_npz(directory / name)
    return _load_idx(directory)


def load_fashion(data_dir: str | Path | None = None) -> tuple[Dataset, Dataset]:
    """Loads Fashion-MNIST from a directory, or downloads it once into the user's cache.

    Args:
        data_dir: A directory that holds the four IDX files, gzipped or not. None downloads them and checks the MD5 sums
            that its authors publish.

    Returns:
        As `load`.

    Raises:
        UserError: As `load`.
    """
    if data_dir is not None:
        return _load_idx(existing(data_dir, "Fashion-MNIST"))
    directory = cache() / "fashion-mnist"
    for name, md5 in FASHION_MD5.items():
        instead = "or give a data directory with the four IDX files"
        download_file(f"{FASHION_URL}/{name}", f"md5:{md5}", name, directory, instead)
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
            f"{', '.join(missing)} (.gz or not); put them there or leave the directory out to download the set"
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
    return to_dataset(images, labels, images_name, labels_name, shape=(28, 28), classes=CLASSES)

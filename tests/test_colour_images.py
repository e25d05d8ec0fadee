"""CIFAR-10 and Fashion-MNIST: every form of their files, and every defect in one line."""

import gzip
import io
import struct
import tarfile
from pathlib import Path

import jax
import numpy as np
import pytest

from kuttax.data.images import cifar10, mnist
from kuttax.errors import UserError
from kuttax.tasks import build

REAL = Path(__file__).parents[2] / "shared" / "data" / "cifar10_10k.npz"


@pytest.fixture
def images(rng):
    """Arrays in Keras' layout."""
    return {
        "x_train": rng.integers(0, 256, (15, 32, 32, 3), np.uint8),
        "y_train": rng.integers(0, 10, 15, np.uint8),
        "x_test": rng.integers(0, 256, (4, 32, 32, 3), np.uint8),
        "y_test": rng.integers(0, 10, 4, np.uint8),
    }


def batches(images) -> dict[str, bytes]:
    """The binary version, from its definition: a label, then 1,024 red, 1,024 green and 1,024 blue pixels, by rows."""

    def records(x, y):
        return b"".join(bytes([label]) + image.transpose(2, 0, 1).tobytes() for image, label in zip(x, y, strict=True))

    x, y = images["x_train"], images["y_train"]
    train = {f"data_batch_{i + 1}.bin": records(x[3 * i : 3 * i + 3], y[3 * i : 3 * i + 3]) for i in range(5)}
    return {**train, "test_batch.bin": records(images["x_test"], images["y_test"])}


def write_archive(folder, files):
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name, content in {**files, "readme.html": b"<html>"}.items():
            about = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))


def write_npz(folder, images, name="cifar10.npz"):
    np.savez(folder / name, **images)


def write_batches(folder, images):
    for name, content in batches(images).items():
        (folder / name).write_bytes(content)


FORMS = {
    "npz": write_npz,
    "part of it": lambda folder, images: write_npz(folder, images, "cifar10_10k.npz"),
    "labels in a column": lambda f, i: write_npz(f, {k: v[:, None] if k[0] == "y" else v for k, v in i.items()}),
    "binary": write_batches,
    "archive": lambda folder, images: write_archive(folder, batches(images)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_images(form, images, tmp_path):
    FORMS[form](tmp_path, images)
    for part, name in zip(cifar10.load(tmp_path), ("train", "test"), strict=True):
        assert part.x.dtype == np.float32 and part.y.dtype == np.int32
        expected = images[f"x_{name}"].astype(np.float64).transpose(0, 3, 1, 2) / 255
        np.testing.assert_allclose(part.x, expected, rtol=2e-7)
        np.testing.assert_array_equal(part.y, images[f"y_{name}"])


def test_a_folder_without_data_or_none_at_all(tmp_path):
    for folder, says in ((tmp_path, "neither cifar10.npz nor"), (tmp_path / "absent", "does not exist")):
        with pytest.raises(UserError, match=says):
            cifar10.load(folder)


def test_a_truncated_batch_and_a_missing_one(images, tmp_path):
    write_batches(tmp_path, images)
    path = tmp_path / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"data_batch_2\.bin holds 9218 bytes, not a multiple of 3073"):
        cifar10.load(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match=r"lacks data_batch_2\.bin of CIFAR-10's binary version"):
        cifar10.load(tmp_path)


def test_labels_out_of_range_and_images_of_another_set(images, tmp_path):
    write_npz(tmp_path, {**images, "y_train": images["y_train"] + 5})
    with pytest.raises(UserError, match=r"labels must lie in 0\.\.9"):
        cifar10.load(tmp_path)
    write_npz(tmp_path, {**images, "x_test": images["x_test"][:, :28, :28]})
    with pytest.raises(UserError, match=r"expected \(n, 32, 32, 3\)"):
        cifar10.load(tmp_path)


def test_a_damaged_archive(images, tmp_path):
    write_archive(tmp_path, batches(images))
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match="not a readable archive"):
        cifar10.load(tmp_path)


def test_the_task_has_a_field_over_colour_images(images, tmp_path):
    write_npz(tmp_path, {**images, "y_train": np.arange(15, dtype=np.uint8) % 3})
    task = build("cifar10", data_dir=tmp_path, width=4, validation_fraction=0.4)
    assert task.train.x.shape[1:] == (3, 32, 32)
    weights = [layer.weight.shape for layer in task.init(jax.random.key(0)).field.layers]
    assert weights == [(4, 4, 1, 1), (4, 5, 3, 3), (3, 5, 1, 1)]  # the time is a channel


@pytest.mark.skipif(not REAL.exists(), reason="no cifar10_10k.npz in ../shared/data")
def test_the_real_part_of_the_set_has_its_means():
    """The means of the red, green and blue pixels of all 50,000 images are 0.4914, 0.4822 and 0.4465."""
    train, test = cifar10.load(REAL.parent)
    assert len(train.x) == len(test.x) == 10_000
    np.testing.assert_allclose(train.x.mean(axis=(0, 2, 3)), [0.4914, 0.4822, 0.4465], atol=0.01)


@pytest.mark.parametrize("zipped", [False, True])
def test_fashion_mnist_has_mnists_form(zipped, rng, tmp_path):
    arrays = [rng.integers(0, 256, (12, 28, 28), np.uint8), np.arange(12, dtype=np.uint8) % 3] * 2
    for name, array in zip(mnist.IDX_NAMES, arrays, strict=True):
        content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
        (tmp_path / (f"{name}.gz" if zipped else name)).write_bytes(gzip.compress(content) if zipped else content)
    train, test = mnist.load_fashion(tmp_path)
    np.testing.assert_allclose(train.x[:, 0], arrays[0].astype(np.float64) / 255, rtol=2e-7)
    np.testing.assert_array_equal(test.y, arrays[1])
    assert build("fashion-mnist", data_dir=tmp_path, width=4, validation_fraction=0.3).name == "fashion-mnist"

"""Data: files that the tests write, every defect in one line, splits and the order of batches."""

import gzip
import hashlib
import http.server
import io
import socket
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from kuttax.data import BatchStream, Dataset, check_dataset, make_splits, split_off
from kuttax.data.images import digits, mnist
from kuttax.data.images.idx import read_idx
from kuttax.errors import UserError


@pytest.fixture
def images(rng):
    """Arrays in Keras' layout: 12 training and 5 test images, every pixel value and class possible."""
    return {
        "x_train": rng.integers(0, 256, (12, 28, 28), np.uint8),
        "y_train": rng.integers(0, 10, 12, np.uint8),
        "x_test": rng.integers(0, 256, (5, 28, 28), np.uint8),
        "y_test": rng.integers(0, 10, 5, np.uint8),
    }


def idx_bytes(array: np.ndarray, kind: int = 0x08) -> bytes:
    """The IDX format, written from its definition."""
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(directory: Path, images: dict[str, np.ndarray], zipped: bool) -> None:
    for name, array in zip(mnist.IDX_NAMES, images.values(), strict=True):
        content = idx_bytes(array)
        path = directory / (f"{name}.gz" if zipped else name)
        path.write_bytes(gzip.compress(content) if zipped else content)


def assert_is_mnist(loaded: tuple[Dataset, Dataset], images: dict[str, np.ndarray]) -> None:
    for part, name in zip(loaded, ("train", "test"), strict=True):
        assert part.x.dtype == np.float32 and part.y.dtype == np.int32
        np.testing.assert_allclose(part.x, images[f"x_{name}"].astype(np.float64)[:, None] / 255, rtol=2e-7)
        np.testing.assert_array_equal(part.y, images[f"y_{name}"])


def one_line(error: pytest.ExceptionInfo[UserError], *parts: object) -> None:
    """The message is one line and says all of `parts`."""
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message


# --- MNIST from a directory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mnist.npz", "mnist10k.npz"])
def test_npz_is_read(tmp_path, images, name):
    np.savez_compressed(tmp_path / name, **images)
    assert_is_mnist(mnist.load(tmp_path), images)


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_is_read(tmp_path, images, zipped):
    write_idx(tmp_path, images, zipped)
    assert_is_mnist(mnist.load(str(tmp_path)), images)


def test_floats_in_the_unit_interval_are_not_scaled_again(tmp_path, images):
    scaled = {key: value / np.float64(255) if key[0] == "x" else value for key, value in images.items()}
    np.savez(tmp_path / "mnist.npz", **scaled)
    assert_is_mnist(mnist.load(tmp_path), images)


def test_directory_that_does_not_exist(tmp_path):
    with pytest.raises(UserError) as error:
        mnist.load(tmp_path / "absent")
    one_line(error, tmp_path / "absent", "does not exist", "leave it out")


def test_file_in_place_of_a_directory(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as error:
        mnist.load(tmp_path / "file")
    one_line(error, tmp_path / "file", "is not a directory")


def test_directory_without_data(tmp_path):
    with pytest.raises(UserError) as error:
        mnist.load(tmp_path)
    one_line(error, tmp_path, "mnist.npz", *mnist.IDX_NAMES)


def test_only_the_missing_idx_files_are_named(tmp_path, images):
    write_idx(tmp_path, images, zipped=False)
    (tmp_path / mnist.IDX_NAMES[3]).unlink()
    with pytest.raises(UserError) as error:
        mnist.load(tmp_path)
    one_line(error, mnist.IDX_NAMES[3])
    assert mnist.IDX_NAMES[0] not in str(error.value)


def set_entry(name, index, value, dtype=None):
    def change(images):
        images[name] = images[name].astype(dtype or images[name].dtype)
        images[name][index] = value

    return change


def scaled_with(value):
    def change(images):
        images["x_train"] = images["x_train"] / 255.0
        images["x_train"][7, 3, 4] = value

    return change


DEFECTS = {
    "label 10": (set_entry("y_train", 4, 10), ["y_train", "label 10", "row 4", "0..9"]),
    "label -1": (set_entry("y_test", 2, -1, np.int8), ["y_test", "label -1", "row 2"]),
    "float labels": (set_entry("y_train", 0, 0.5, np.float32), ["y_train", "float32", "integers"]),
    "nan": (scaled_with(np.nan), ["x_train", "NaN or infinity", "row 7"]),
    "inf": (scaled_with(np.inf), ["x_train", "NaN or infinity", "row 7"]),
    "float pixel": (scaled_with(1.5), ["x_train", "1.5", "row 7", "[0, 1]"]),
    "integer pixel": (set_entry("x_test", (3, 0, 0), 256, np.int32), ["x_test", "256", "row 3", "[0, 255]"]),
    "shape": (lambda d: d.update(x_test=d["x_test"][:, :27]), ["x_test", "(5, 27, 28)", "(n, 28, 28)"]),
    "empty": (lambda d: d.update(x_test=d["x_test"][:0]), ["x_test", "(0, 28, 28)"]),
    "count": (lambda d: d.update(y_train=d["y_train"][:-1]), ["y_train", "(11,)", "(12,)"]),
    "key": (lambda d: d.pop("y_test"), ["lacks y_test", "x_train, y_train, x_test"]),
    "strings": (lambda d: d.update(x_train=np.full((12, 28, 28), "a")), ["x_train", "dtype <U1"]),
    "objects": (lambda d: d.update(y_train=np.array([None] * 12)), ["not a readable NumPy archive"]),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_defect_in_an_archive(tmp_path, images, defect):
    change, parts = DEFECTS[defect]
    change(images)
    np.savez(tmp_path / "mnist.npz", **images)
    with pytest.raises(UserError) as error:
        mnist.load(tmp_path)
    one_line(error, tmp_path / "mnist.npz", *parts)


def npz_bytes(images) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **images)
    return buffer.getvalue()


def npy_bytes(images) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, images["x_train"])
    return buffer.getvalue()


def flipped(images) -> bytes:
    content = bytearray(npz_bytes(images))
    content[2000] ^= 0xFF
    return bytes(content)


BROKEN_ARCHIVES = {
    "empty": lambda images: b"",
    "text": lambda images: b"<html>not found</html>",
    "truncated": lambda images: npz_bytes(images)[:-3000],
    "a flipped bit": flipped,
}


@pytest.mark.parametrize("how", BROKEN_ARCHIVES)
def test_broken_archive(tmp_path, images, how):
    path = tmp_path / "mnist10k.npz"
    path.write_bytes(BROKEN_ARCHIVES[how](images))
    with pytest.raises(UserError) as error:
        mnist.load(tmp_path)
    one_line(error, path, "not a readable NumPy archive", "fetch it again")


def test_single_array_in_place_of_an_archive(tmp_path, images):
    (tmp_path / "mnist.npz").write_bytes(npy_bytes(images))
    with pytest.raises(UserError) as error:
        mnist.load(tmp_path)
    one_line(error, "lacks x_train", "keys found: none")


IDX = idx_bytes(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
BROKEN_IDX = {
    "empty": ("a", b"", "not an IDX file"),
    "text": ("a", b"<html>", "not an IDX file"),
    "type": ("a", idx_bytes(np.zeros(3, ">f4"), 0x0D), "IDX type 0x0d"),
    "header": ("a", IDX[:10], "truncated in its header"),
    "short": ("a", IDX[:-1], "holds 23"),
    "long": ("a", IDX + b"\0", "holds 25"),
    "truncated gzip": ("a.gz", gzip.compress(IDX)[:-9], "corrupt gzip"),
    "no gzip": ("a.gz", IDX, "corrupt gzip"),
}


@pytest.mark.parametrize("how", BROKEN_IDX)
def test_broken_idx(tmp_path, how):
    name, content, part = BROKEN_IDX[how]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        read_idx(tmp_path / name)
    one_line(error, tmp_path / name, part, "fetch it again")


def test_idx_shape_and_order(tmp_path):
    (tmp_path / "a").write_bytes(IDX)
    np.testing.assert_array_equal(read_idx(tmp_path / "a"), np.arange(24).reshape(2, 3, 4))


# --- MNIST by download --------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves `content` on this machine; `requests` counts how often."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            state.requests += 1
            self.send_response(200)
            self.send_header("Content-Length", str(len(state.content)))
            self.end_headers()
            self.wfile.write(state.content)

        def log_message(self, format, *args):
            pass

    class State:
        content = b""
        requests = 0
        url = ""

    state = State()
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as web:
        state.url = f"http://127.0.0.1:{web.server_port}/mnist.npz"
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(mnist, "URL", state.url)
        monkeypatch.setattr(mnist, "cache", lambda: tmp_path / "kuttax")
        yield state
        web.shutdown()
        thread.join()


def test_download_is_cached(server, images, monkeypatch):
    server.content = npz_bytes(images)
    monkeypatch.setattr(mnist, "SHA256", hashlib.sha256(server.content).hexdigest())
    for _ in range(2):
        assert_is_mnist(mnist.load(), images)
    assert server.requests == 1


def test_altered_cache_is_downloaded_again(server, images, monkeypatch, tmp_path):
    server.content = npz_bytes(images)
    monkeypatch.setattr(mnist, "SHA256", hashlib.sha256(server.content).hexdigest())
    mnist.load()
    (tmp_path / "kuttax" / "mnist.npz").write_bytes(flipped(images))
    assert_is_mnist(mnist.load(), images)


def test_corrupted_download_is_refused_and_not_kept(server, images, tmp_path):
    server.content = npz_bytes(images)  # sound, but not Keras' file
    with pytest.raises(UserError) as error:
        mnist.load()
    one_line(error, "corrupted download", server.url, mnist.SHA256, "try again")
    assert list((tmp_path / "kuttax").iterdir()) == []


def test_unreachable_server(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as taken:  # bound but not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/mnist.npz"
        with pytest.raises(UserError) as error:
            mnist.download(url, mnist.SHA256, tmp_path)
    one_line(error, "cannot download", url, "data directory")


def test_cache_that_cannot_be_written(server, tmp_path):
    (tmp_path / "kuttax").write_text("a file where the folder should be")
    with pytest.raises(UserError) as error:
        mnist.load()
    one_line(error, "cannot download", tmp_path / "kuttax")


# --- digits, splits, checks ---------------------------------------------------------------------------------------


def test_digits_are_scikit_learns():
    train, test = digits.load()
    assert train.x.shape == (1437, 1, 8, 8) and test.x.shape == (360, 1, 8, 8)
    assert train.x.dtype == np.float32 and train.y.dtype == np.int32
    assert train.x.min() == 0.0 and train.x.max() == 1.0
    bunch = load_digits()
    rows = np.concatenate([np.c_[16 * part.x.reshape(len(part.x), -1), part.y] for part in (train, test)])
    expected = np.c_[bunch.data, bunch.target]
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], expected[np.lexsort(expected.T)])


def numbered(samples: int, classes: int = 4) -> Dataset:
    return Dataset(np.arange(samples, dtype=np.float64), np.arange(samples, dtype=np.int32) % classes)


def test_split_is_disjoint_complete_stratified_and_repeatable():
    first, again, other = (split_off(numbered(100), 0.2, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(np.sort(np.concatenate([part.x for part in first])), np.arange(100))
    assert np.bincount(first[1].y).tolist() == [5, 5, 5, 5]
    np.testing.assert_array_equal(first[1].x, again[1].x)
    assert not np.array_equal(first[1].x, other[1].x)
    for part in first:
        np.testing.assert_array_equal(part.y, part.x % 4)


def test_make_splits_leaves_test_alone():
    test = numbered(8)
    splits = make_splits(numbered(40), test, validation_fraction=0.25, seed=3)
    assert (len(splits.train.x), len(splits.validation.x)) == (30, 10)
    assert splits.test is test


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_fraction_out_of_range(fraction):
    with pytest.raises(UserError) as error:
        make_splits(numbered(40), numbered(8), validation_fraction=fraction)
    one_line(error, "validation fraction", fraction, "(0, 1)")


def test_fraction_that_leaves_a_class_out():
    with pytest.raises(UserError) as error:
        split_off(numbered(40), 0.01, 0)
    one_line(error, "0.01 of 40 samples", "another fraction")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["x", "y"])
def test_numbers_that_are_not_finite_are_refused_with_their_row(value, field):
    arrays = {"x": np.zeros((6, 2, 2)), "y": np.zeros((6, 1), np.float32)}
    arrays[field][4] = value
    with pytest.raises(UserError) as error:
        check_dataset("mine", Dataset(**arrays))
    one_line(error, f"mine: {field}", "row 4", "1 of 6")


@pytest.mark.parametrize(("x", "y", "part"), [((3, 2), (4,), "3 rows"), ((0, 2), (0,), "(0, 2)"), ((), (), "()")])
def test_datasets_that_do_not_fit(x, y, part):
    with pytest.raises(UserError) as error:
        check_dataset("mine", Dataset(np.zeros(x), np.zeros(y, np.int32)))
    one_line(error, "mine", part)


# --- batches ------------------------------------------------------------------------------------------------------

sizes = st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))


@given(sizes, st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_every_epoch_visits_each_sample_once(size, seed):
    samples, batch_size = size
    epochs = 3
    steps = -(-epochs * samples // batch_size)
    indices = BatchStream(samples, batch_size, seed).take(0, steps)
    assert indices.shape == (steps, batch_size) and indices.dtype == np.int32
    for epoch in indices.ravel()[: epochs * samples].reshape(epochs, samples):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(samples))


@given(sizes, st.integers(0, 40), st.integers(1, 9))
@settings(max_examples=50, deadline=None)
def test_a_batch_depends_on_its_step_alone(size, step, count):
    stream = BatchStream(*size, seed=7)
    one_by_one = np.concatenate([BatchStream(*size, seed=7).take(step + i) for i in range(count)])
    np.testing.assert_array_equal(stream.take(step, count), one_by_one)


def test_epochs_and_seeds_differ():
    first, second = BatchStream(100, 100, seed=0).take(0, 2)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, BatchStream(100, 100, seed=1).take(0)[0])


def test_an_epoch_far_away_costs_no_more_than_its_own():
    stream = BatchStream(10, 10, seed=0)
    np.testing.assert_array_equal(np.sort(stream.take(10**9)[0]), np.arange(10))


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ((10, 11), ["batch_size 11", "10 training samples"]),
        ((10, 0), ["batch_size", ">= 1", "got 0"]),
        ((10, 5, -1), ["seed", "got -1"]),
    ],
)
def test_streams_that_cannot_be(arguments, parts):
    with pytest.raises(UserError) as error:
        BatchStream(*arguments)
    one_line(error, *parts)


@pytest.mark.parametrize(("step", "count"), [(-1, 1), (0, 0)])
def test_steps_that_cannot_be(step, count):
    with pytest.raises(UserError):
        BatchStream(10, 5).take(step, count)

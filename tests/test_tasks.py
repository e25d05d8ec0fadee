"""Tasks: losses and metrics against scikit-learn, gradients against finite differences, the page's own example."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss

import kuttax as kx
from kuttax.data import Dataset, Splits
from kuttax.errors import UserError
from kuttax.tasks import TASKS, Classification, Task, build, mean_nfe, task_options
from kuttax.tasks.classification.task import accuracy, cross_entropy

RK4 = kx.FixedSteps(kx.tableaus.RK4, 2)


def make_splits(rng, shape=(5,), classes=3, samples=12) -> Splits:
    part = lambda: Dataset(rng.standard_normal((samples, *shape)), np.arange(samples, dtype=np.int64) % classes)
    return Splits(part(), part(), part())


@pytest.fixture
def task(rng) -> Classification:
    return Classification("small", make_splits(rng), width=4)


def on_device(dataset: Dataset) -> Dataset:
    return Dataset(*map(jnp.asarray, dataset))


def test_cross_entropy_and_accuracy_are_scikit_learns(rng):
    logits = 3 * rng.standard_normal((50, 4))
    labels = rng.integers(0, 4, 50)
    odds = np.exp(logits)
    expected = log_loss(labels, odds / odds.sum(axis=1, keepdims=True), labels=range(4))
    given = jnp.asarray(logits), jnp.asarray(labels, jnp.int32)
    np.testing.assert_allclose(cross_entropy(*given), expected, rtol=1e-12)
    np.testing.assert_allclose(accuracy(*given), 100 * accuracy_score(labels, logits.argmax(axis=1)), rtol=1e-12)


def test_a_classification_is_a_task(task):
    assert isinstance(task, Task)


def test_predict_is_softmax_of_the_model(task, key):
    model = task.init(key)
    prediction = task.predict(model, RK4, on_device(task.test))
    logits = np.asarray(prediction.outputs, np.float64)
    odds = np.exp(logits)
    assert logits.shape == (12, 3)
    np.testing.assert_allclose(prediction.loss, log_loss(task.test.y, odds / odds.sum(1, keepdims=True)), rtol=1e-5)
    np.testing.assert_allclose(prediction.metric, 100 * accuracy_score(task.test.y, logits.argmax(1)), rtol=1e-6)
    np.testing.assert_array_equal(prediction.labels, task.test.y)
    assert prediction.status == kx.Status.ok and prediction.stats.nfe == 8


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_gradient_of_the_loss_is_its_finite_difference(rng, key, kind):
    task = Classification("small", make_splits(rng, (1, 4, 4)), field=kind, width=3, augmented=1)
    cast = lambda x: jnp.asarray(x, jnp.float64) if np.issubdtype(x.dtype, np.floating) else jnp.asarray(x)
    arrays, rest = eqx.partition(task.init(key), eqx.is_inexact_array)
    arrays, batch = jax.tree.map(cast, arrays), Dataset(*map(cast, task.train))
    loss = jax.jit(lambda arrays: task.loss(eqx.combine(arrays, rest), RK4, batch, key)[0])
    direction = jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape)), arrays)
    moved = lambda by: loss(jax.tree.map(lambda x, d: x + by * d, arrays, direction))
    slope = jax.tree.map(lambda g, d: jnp.sum(g * d), jax.grad(loss)(arrays), direction)
    expected = (moved(1e-5) - moved(-1e-5)) / 2e-5
    np.testing.assert_allclose(sum(jax.tree.leaves(slope)), expected, rtol=1e-6)


@pytest.mark.parametrize("control", ["joint", "per_sample"])
def test_loss_logs_scalars(task, key, control):
    solver = kx.Adaptive(kx.tableaus.DOPRI5, rtol=1e-4, atol=1e-4, control=control)
    batch, model = on_device(task.train), task.init(key)
    value, log = eqx.filter_jit(task.loss)(model, solver, batch, key)
    prediction = task.predict(model, solver, batch)
    status = (len(batch.y),) if control == "per_sample" else ()
    assert {name: array.shape for name, array in log.items()} == {"nfe": (), "metric": (), "status": status}
    assert value.shape == () and (np.asarray(log["status"]) == kx.Status.ok).all()
    np.testing.assert_allclose(log["nfe"], np.mean(prediction.stats.nfe), rtol=1e-6)


def test_a_failed_solve_is_told_by_its_status(rng, key):
    task = Classification("small", make_splits(rng), width=4, max_steps=1)
    solver = kx.Adaptive(kx.tableaus.DOPRI5, rtol=1e-6, atol=1e-6)
    _, log = eqx.filter_jit(task.loss)(task.init(key), solver, on_device(task.train), key)
    assert log["status"] == kx.Status.max_steps


@pytest.mark.parametrize("stats", [None, kx.Stats(None, None, None, None)])
def test_unknown_nfe_is_nan(stats):
    assert np.isnan(mean_nfe(stats))


def test_nfe_of_samples_that_step_on_their_own_is_their_mean():
    assert mean_nfe(kx.Stats(jnp.asarray([8, 14, 26]), None, None, None)) == 16


def test_data_are_what_the_field_takes(rng):
    splits = make_splits(rng, (2, 4, 4))
    flat, images = (Classification("small", splits, field=kind) for kind in ("mlp", "conv"))
    np.testing.assert_array_equal(flat.train.x, splits.train.x.reshape(12, 32).astype(np.float32))
    np.testing.assert_array_equal(images.test.x, splits.test.x.astype(np.float32))
    assert flat.train.x.dtype == np.float32 and flat.train.y.dtype == np.int32


def with_train(splits: Splits, **changes) -> Splits:
    return splits._replace(train=splits.train._replace(**changes))


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"width": 0}, "width must be >= 1, got 0"),
        ({"depth": -1}, "depth must be >= 0, got -1"),
        ({"augmented": -1}, "augmented must be >= 0, got -1"),
        ({"max_steps": 0}, "max_steps must be >= 1, got 0"),
        ({"field": "gru"}, "unknown field 'gru'; known: mlp, conv"),
        ({"field": "conv"}, "conv field needs images"),
    ],
)
def test_options_that_cannot_be(rng, options, part):
    with pytest.raises(UserError, match=re.escape(part)):
        Classification("small", make_splits(rng), **options)


def test_data_that_cannot_be(rng):
    splits = make_splits(rng)
    x = splits.train.x.copy()
    x[3, 1] = np.nan
    for changes, part in (
        ({"x": x}, "NaN or infinity in row 3"),
        ({"y": splits.train.y / 2}, "must be integers"),
        ({"y": splits.train.y - 1}, "count from 0, got -1 in row 0"),
    ):
        with pytest.raises(UserError, match=part):
            Classification("small", with_train(splits, **changes))


def test_digits_is_split_and_sized():
    task = build("digits")
    assert [len(part.x) for part in task.splits] == [1149, 288, 360]
    assert task.train.x.shape[1:] == (64,) and task.classes == 10
    rows = np.concatenate([part.x for part in task.splits])
    assert len(np.unique(rows, axis=0)) == 1797, "no image is in two parts"
    field = task.init(jax.random.key(0)).field
    assert [layer.weight.shape for layer in field.layers] == [(64, 65), (64, 65)]


def test_mnist_reads_its_directory(tmp_path, rng):
    labels = np.repeat(np.arange(10), 2)
    images = rng.integers(0, 256, (20, 28, 28), np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    task = build("mnist", data_dir=tmp_path, validation_fraction=0.5)
    assert [len(part.x) for part in task.splits] == [10, 10, 20]
    field = task.init(jax.random.key(0)).field
    assert [layer.weight.shape for layer in field.layers] == [(100, 785), (784, 101)]


@pytest.mark.parametrize("name", ["digits", "mnist", "spheres"])
def test_every_option_reaches_the_task(name, tmp_path, rng):
    labels = np.repeat(np.arange(10), 10)
    images = rng.integers(0, 256, (100, 28, 28), np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    small = {"dimension": 3, "samples": 40, "test_samples": 8, "data_seed": 1}
    where = {"mnist": {"data_dir": tmp_path}, "spheres": small}.get(name, {})
    field = "conv1d" if name == "spheres" else "conv"
    asked = {"field": field, "width": 3, "depth": 2, "time_dependent": False, "augmented": 1, "max_steps": 9}
    task = build(name, **asked, **where)
    assert {option: getattr(task, option) for option in asked} == asked
    other = build(name, validation_fraction=0.5, split_seed=1, **where)
    assert abs(len(other.validation.x) - len(other.train.x)) <= 1
    assert {field.name for field in dataclasses.fields(TASKS[name])} == {
        *asked, *where, "validation_fraction", "split_seed"
    }  # fmt: skip


def test_moons_are_two_half_circles_with_noise():
    """Of radius 1 around (0, 0), above, and (1, 1/2), below; train and test are different draws."""
    task = build("moons", noise=0.0, samples=300, test_samples=100, validation_fraction=0.2)
    assert [len(part.x) for part in task.splits] == [240, 60, 100]
    for x, y in task.splits:
        upper, lower = x[y == 0], x[y == 1] - [1.0, 0.5]
        np.testing.assert_allclose(np.linalg.norm(upper, axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(lower, axis=1), 1, atol=1e-6)
        assert upper[:, 1].min() >= -1e-6 and lower[:, 1].max() <= 1e-6
    noisy, other = (build("moons", data_seed=seed) for seed in (0, 1))
    assert not np.array_equal(noisy.test.x, other.test.x)
    assert not {*map(tuple, noisy.train.x)} & {*map(tuple, noisy.test.x)}


def test_unknown_names():
    with pytest.raises(UserError, match=r"unknown task 'cifar'; known: digits, mnist, spheres"):
        task_options("cifar")
    with pytest.raises(UserError, match=r"'digits' has no option 'widht'; known: field, width"):
        build("digits", widht=3)


@pytest.mark.slow
def test_the_documented_task_of_ones_own_runs():
    """In a process of its own: the page promises that its blocks are complete, and they run without strict settings."""
    page = Path(__file__).parents[1] / "docs" / "own_task.md"
    code = "\n".join(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
    code += "\nfrom kuttax.tasks import Task\nassert isinstance(task, Task)\n"
    code += "state = np.linalg.norm(task.test.y, axis=1)\nassert own.metric < 0.2 * np.sqrt(np.mean(state**2) / 2)\n"
    code += "assert task.predict(easy.model, adaptive, test).metric < 0.2 * np.sqrt(np.mean(state**2) / 2)\n"
    # The truth behind the data: the matrix exponential of the system that the page states.
    code += "from scipy.linalg import expm\n"
    code += "flow = expm(3.0 * np.array([[0.0, 1.0], [-4.0, -0.6]]))\n"
    code += "np.testing.assert_allclose(task.test.y, task.test.x @ flow.T, rtol=1e-4, atol=1e-5)\n"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "JAX_PLATFORMS": "cpu"})
    assert done.returncode == 0, done.stderr
    assert "test rmse" in done.stdout
    nfe = {name: int(count) for name, count in re.findall(r"(\w+): test rmse \S+ at (\d+) evaluations", done.stdout)}
    assert nfe["penalised"] < nfe["vanilla"]

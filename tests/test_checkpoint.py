"""Saved runs: every bit comes back, what is damaged is refused in one line, nothing is ever unpickled."""

import io
import json
import pickle
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kuttax as kx
from kuttax.errors import UserError
from kuttax.io.atomic import write_json
from kuttax.tasks.registry import build
from kuttax.training import checkpoint
from kuttax.training.checkpoint import load_model, load_run, read_run, save_run

OPTIONS = {"width": 2}
ABOUT = {"task": {"name": "digits", "options": OPTIONS}}


@pytest.fixture(scope="module")
def task():
    return build("digits", **OPTIONS)


@pytest.fixture
def model(task, key):
    return task.init(key)


@pytest.fixture
def saved(tmp_path, model):
    save_run(tmp_path / "run", model, kx.FixedSteps(kx.tableaus.RK4, 2), ABOUT)
    return tmp_path / "run"


def moved(solver, key):
    """The solver with noise on every number that training could have changed."""
    varied, fixed = eqx.partition(solver, kx.trainable(solver))
    flat, tree = jax.tree.flatten(varied)
    keys = jax.random.split(key, max(1, len(flat)))
    flat = [x + 0.1 * jax.random.normal(k, x.shape, x.dtype) for x, k in zip(flat, keys, strict=False)]
    return eqx.combine(jax.tree.unflatten(tree, flat), fixed)


def assert_same_bits(one, two):
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes()


def refusal(call, *arguments):
    """The message of the UserError that the call raises: one line, whatever it is about."""
    with pytest.raises(UserError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert message and "\n" not in message and "unsafely" not in message
    return message


# Round trip


@pytest.mark.parametrize(
    "solver",
    [
        kx.FixedSteps(kx.tableaus.RK4, 3),
        kx.Adaptive(kx.tableaus.TSIT5, 1e-5 / 3, 1e-7 / 7, control="per_sample", safety=0.8, first_step=0.1 / 3),
        kx.LearnedRK.from_tableau(kx.tableaus.RK4, 2, order=2, per_step=True, learn_steps=True, dtype=np.float32),
        kx.LearnedRK.from_tableau(kx.tableaus.HEUN3, 3, order=3, dtype=np.float64, trained_for=(0.5, -1 / 3)),
        kx.LearnedRK.from_tableau(kx.tableaus.MIDPOINT, 2, order=1, stages=3, learn_steps=True, dtype=np.float64),
    ],
    ids=["fixed", "adaptive", "projected", "closed", "more-stages"],
)
def test_every_bit_comes_back(tmp_path, model, solver, key):
    solver = moved(solver, key)
    save_run(tmp_path, model, solver, ABOUT)
    task, model_back, solver_back = load_run(tmp_path)
    assert task.name == "digits"
    assert_same_bits(model_back, model)
    assert_same_bits(solver_back, solver)
    assert not list(tmp_path.glob("*.partial"))


def test_a_task_of_ones_own_needs_no_name(saved, task, model):
    (saved / "run.json").unlink()
    same, model_back, _ = load_run(saved, task)
    assert same is task
    assert_same_bits(model_back, model)


def test_about_is_kept(saved):
    about = read_run(saved)
    assert about["task"] == ABOUT["task"]


# Damage


@pytest.mark.parametrize("keep", [0, 5, 60, 200, -1])
def test_truncated_model_is_refused(saved, task, keep):
    path = saved / "model.eqx"
    path.write_bytes(path.read_bytes()[:keep])
    message = refusal(load_model, saved, task)
    assert str(path) in message and "leaf" not in message and message.endswith("train again")


def test_model_with_more_behind_it_is_refused(saved, task):
    path = saved / "model.eqx"
    path.write_bytes(path.read_bytes() + b"\0")
    assert "more" in refusal(load_model, saved, task)


@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_random_bytes_are_refused(saved, task, rng, size):
    (saved / "model.eqx").write_bytes(rng.bytes(size))
    refusal(load_model, saved, task)


@pytest.mark.parametrize("change", [{"width": 3}, {"depth": 2}, {"augmented": 1}, {"field": "conv"}], ids=str)
def test_model_of_other_options_is_refused(saved, change):
    refusal(load_model, saved, build("digits", **{**OPTIONS, "depth": 1, **change}))


def test_model_of_another_precision_is_refused(saved, task, model):
    double = jax.tree.map(lambda x: x.astype(jnp.float64) if eqx.is_inexact_array(x) else x, model)
    save_run(saved, double, kx.FixedSteps(kx.tableaus.RK4, 2), ABOUT)
    assert "float64" in refusal(load_model, saved, task)


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


@pytest.mark.parametrize("wrapped", [False, True], ids=["pickle", "npy"])
@pytest.mark.parametrize("name", ["model.eqx", "solver.json", "run.json"])
def test_nothing_is_unpickled(saved, tmp_path, name, wrapped):
    marker = tmp_path / "executed"
    payload = pickle.dumps(Payload(marker))
    if wrapped:
        buffer = io.BytesIO()
        np.save(buffer, np.array([Payload(marker)], dtype=object), allow_pickle=True)
        payload = buffer.getvalue()
    pickle.loads(pickle.dumps(Payload(tmp_path / "control")))
    assert (tmp_path / "control").exists()  # the payload would work
    (saved / name).write_bytes(payload)
    refusal(load_run, saved)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["model.eqx", "solver.json", "run.json"])
def test_missing_file_is_named(saved, name):
    (saved / name).unlink()
    assert name.partition(".")[0] in refusal(load_run, saved)


@pytest.mark.parametrize("content", ["", '{"format": ', "[1, 2]", "null", '{"a": 1}', '{"task": {"name": "digits"}}'])
@pytest.mark.parametrize("name", ["solver.json", "run.json"])
def test_foreign_or_torn_json_is_refused(saved, name, content):
    (saved / name).write_text(content)
    assert str(saved / name) in refusal(load_run, saved)


@pytest.mark.parametrize(
    "named",
    [{"options": {}}, {"name": "digits"}, {"name": "digits", "options": 3}, {"name": ["digits"], "options": {}},
     {"name": "digits", "options": {"width": "wide"}}],
    ids=str,
)  # fmt: skip
def test_damaged_description_of_the_task_is_refused(saved, named):
    write_json(saved / "run.json", {"format": "kuttax-run", "task": named})
    assert "run.json" in refusal(load_run, saved)


@pytest.mark.parametrize(
    "named", [{"name": "cifar", "options": {}}, {"name": "digits", "options": {"depht": 1}}], ids=str
)
def test_task_of_another_version_says_what_is_unknown(saved, model, named):
    save_run(saved, model, kx.FixedSteps(kx.tableaus.RK4, 2), {"task": named})
    with pytest.raises(UserError, match=r"cifar|depht"):
        load_run(saved)


@pytest.mark.parametrize("where", ["nowhere", "file", "file/below", "empty"])
def test_no_run_is_refused(tmp_path, where):
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    assert where in refusal(load_run, tmp_path / where)
    assert where in refusal(read_run, str(tmp_path / where))


# Writing


def fail_midway(path, _):
    Path(path).write_bytes(b"half a mod")
    raise OSError(28, "No space left on device")


def test_model_that_cannot_be_written_leaves_the_old_run(saved, task, model, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    monkeypatch.setattr(checkpoint.eqx, "tree_serialise_leaves", fail_midway)
    with pytest.raises(OSError, match="No space"):
        save_run(saved, jax.tree.map(lambda x: x * 2, model), kx.FixedSteps(kx.tableaus.EULER, 1), ABOUT)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert_same_bits(load_model(saved, task), model)


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "data.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": 2, "b": object()})

    def half(self, text, **_):
        self.write_bytes(text.encode()[:4])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(KeyboardInterrupt):
        write_json(path, {"a": 3})
    assert json.loads(path.read_bytes()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["data.json"]

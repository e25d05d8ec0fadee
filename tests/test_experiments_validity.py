"""The experiments on validity: the marches against SciPy, the search on known answers, every script at tiny sizes."""

import bisect
import re
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.spatial import ConvexHull

import kuttax as kx
from experiments.validity import adaptive, consistency, control, critical, draw, grid, windermere
from experiments.validity.marching import SCHEMES, logits
from kuttax.io import records
from kuttax.nn import MLPField, NeuralODEClassifier
from kuttax.training.checkpoint import load_run


@pytest.mark.parametrize("scheme", SCHEMES)
def test_marches_have_their_order(key, rng, scheme):
    """Against SciPy: halving the step divides the error by 2 to the order."""
    model = NeuralODEClassifier(MLPField(3, 5, key=key), (3,), 2, key=key)
    x = rng.standard_normal((4, 3))
    slope = lambda t, y: np.asarray(jax.vmap(model.field, (None, 0))(t, jnp.asarray(y.reshape(4, 3)))).ravel()
    y1 = solve_ivp(slope, (0, 1), x.ravel(), rtol=1e-11, atol=1e-11).y[:, -1].reshape(4, 3)
    exact = y1 @ np.asarray(model.head.weight, float).T + np.asarray(model.head.bias, float)
    errors = [np.abs(np.asarray(logits(model, x, scheme, n)) - exact).max() for n in (8, 16)]
    order = {"euler": 1, "midpoint": 2, "rk4": 4}[scheme]
    assert abs(np.log2(errors[0] / errors[1]) - order) < 0.35


@pytest.mark.parametrize("threshold", [1, 3, 17, 32, 33, 100, 399])
def test_critical_finds_the_first_rung_that_is_valid(threshold):
    asked = []
    found = critical.critical(lambda n: asked.append(n) or n >= threshold)
    at = bisect.bisect_left(critical.LADDER, threshold)
    assert found == {"critical": critical.LADDER[at], "invalid": critical.LADDER[at - 1] if at else None}
    assert len(set(asked)) < 14, "a search, not a sweep"


def test_critical_is_above_a_lucky_valid_model():
    lucky, threshold = critical.LADDER[20], critical.LADDER[22]
    found = critical.critical(lambda n: n == lucky or n >= threshold)
    assert found == {"critical": threshold, "invalid": critical.LADDER[21]}


def test_critical_says_where_nothing_is_valid():
    assert critical.critical(lambda n: False) == {"critical": None, "invalid": critical.LADDER[-1]}


def test_the_ladder_has_a_ratio_of_at_most_1_1():
    assert all(b == a + 1 or b <= 1.1 * a for a, b in pairwise(critical.LADDER))


def test_the_fan_is_separable_by_its_solvers_error_alone():
    """Hulls of the classes' end states under Euler at 10^-2.5 are apart; in the exact flow, by SciPy, they meet."""
    fan = windermere.Fan()
    data = fan.data(6, seed=3)
    exact = np.array([solve_ivp(_slope(fan), (0, fan.time), point, rtol=1e-9, atol=1e-9).y[:, -1] for point in data.x])
    coarse = _euler_by_hand(fan, data.x, fan.steps(-2.5))
    assert _apart(coarse, data.y) and not _apart(exact, data.y)
    np.testing.assert_allclose(fan.states(windermere.euler(fan, -2.5), data.x), coarse, rtol=1e-6, atol=1e-8)
    line = windermere.fitted(fan, -2.5, 50)
    assert line.accuracy(coarse, data.y) == 100 and line.accuracy(exact, data.y) < 90


def _slope(fan):
    def slope(t, z):
        stiffness = fan.g * (z @ z) ** (fan.d / 2)
        return [fan.a * z[0] + z[1], fan.b * z[1] - stiffness * z[0]]

    return slope


def _euler_by_hand(fan, x, steps):
    z, h = x.T.copy(), fan.time / steps
    for _ in range(steps):
        stiffness = fan.g * np.sum(z**2, axis=0) ** (fan.d / 2)
        z = z + h * np.stack([fan.a * z[0] + z[1], fan.b * z[1] - stiffness * z[0]])
    return z.T


def _apart(z, labels):
    """Whether a line separates the classes: an edge's normal of the hull of all differences has them on one side."""
    first, second = z[labels == 0], z[labels == 1]
    differences = (first[:, None] - second[None]).reshape(-1, 2)
    return bool((ConvexHull(differences).equations[:, 2] > 0).any())  # the origin is outside of the hull


@pytest.mark.experiment
def test_the_grid_records_once_and_is_drawn(tmp_path):
    grid.main(["spheres", "--smoke", "--out", str(tmp_path)])
    found = records.read(tmp_path / "spheres.jsonl")
    assert [(r["steps"], r["seed"]) for r in found] == [(2, 0), (4, 0)]
    for record in found:
        own = next(t for t in record["tests"] if t["scheme"] == "euler" and t["factor"] == 1.0)
        truth = next(t for t in record["tests"] if t["scheme"] == "rk4" and t["factor"] == 0.25)
        assert own["steps"] == record["steps"] and truth["steps"] == 4 * record["steps"]
        assert record["lost"] == pytest.approx(own["accuracy"] - truth["accuracy"])
    _, _, solver = load_run(tmp_path / "runs" / found[0]["run"])
    assert isinstance(solver, kx.FixedSteps) and solver.steps == 2
    before = (tmp_path / "spheres.jsonl").read_bytes()
    grid.main(["spheres", "--smoke", "--out", str(tmp_path)])
    assert (tmp_path / "spheres.jsonl").read_bytes() == before
    draw.main(["spheres", "--smoke", "--out", str(tmp_path)])
    assert (tmp_path / "spheres-grid.png").exists() and (tmp_path / "spheres-lost.png").exists()


@pytest.mark.experiment
def test_models_of_adaptive_steps_are_recorded_once(tmp_path, monkeypatch):
    monkeypatch.setattr(adaptive, "TRUTH", ("rk4", 8))
    for _ in range(2):
        adaptive.main(["spheres", "--smoke", "--out", str(tmp_path)])
    (record,) = records.read(tmp_path / "spheres.jsonl")
    assert record["lost"] == pytest.approx(record["accuracy"] - record["truth"])
    assert record["verdict"] == record["certificate"]["verdict"]


@pytest.mark.experiment
def test_the_same_seed_gives_the_same_record(tmp_path):
    for name in ("first", "second"):
        grid.main(["spheres", "--smoke", "--steps", "2", "--out", str(tmp_path / name)])
    first, second = (records.read(tmp_path / name / "spheres.jsonl")[0] for name in ("first", "second"))
    vary = ("when", "train_seconds", "compile_seconds")
    assert {k: v for k, v in first.items() if k not in vary} == {k: v for k, v in second.items() if k not in vary}


@pytest.mark.experiment
def test_mnist_runs(tmp_path, rng):
    labels = np.repeat(np.arange(10), 10)
    images = rng.integers(0, 256, (100, 28, 28), np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    grid.main(["mnist", "--smoke", "--steps", "1", "--data-dir", str(tmp_path), "--out", str(tmp_path)])
    assert len(records.read(tmp_path / "mnist.jsonl")) == 1


@pytest.mark.experiment
@pytest.mark.parametrize("weight", ["0", "1"])
def test_consistency_runs(tmp_path, weight):
    if weight != "0" and not hasattr(kx, "Consistency"):
        pytest.skip("there is no Consistency penalty yet")
    consistency.main(["spheres", "--smoke", "--weights", weight, "--out", str(tmp_path)])
    (record,) = records.read(tmp_path / "consistency.jsonl")
    assert record["nfe"] == 2 and record["valid"] == (record["accuracy"] - record["truth"] <= 1)
    assert (tmp_path / "consistency-spheres.png").exists()


def test_control_records_and_draws(tmp_path):
    control.main(["spheres", "--smoke", "--controls", "ott", "--starts", "2", "--out", str(tmp_path)])
    (record,) = records.read(tmp_path / "control.jsonl")
    assert (record["start"], record["final"], record["nfe_train"]) == (2, 2, 3 * 16 * 2)
    assert (tmp_path / "control.png").exists()


def test_windermere_records_and_draws(tmp_path):
    windermere.main(["--smoke", "--out", str(tmp_path)])
    found = records.read(tmp_path / "windermere.jsonl")
    assert [r["exponent"] for r in found] == [None, -2.5, -3.5]
    deviation = {r["exponent"]: r["deviation"] for r in found}
    assert deviation[None] == 0 and deviation[-2.5] == pytest.approx(10 * deviation[-3.5], rel=0.05)
    assert (tmp_path / "windermere.png").exists()


@pytest.mark.experiment
def test_certificates_are_recorded(tmp_path, capsys):
    certify = pytest.importorskip("experiments.validity.certify")
    grid.main(["spheres", "--smoke", "--steps", "2", "--out", str(tmp_path)])
    certify.main(["spheres", "--smoke", "--out", str(tmp_path)])
    verdict = records.read(tmp_path / "spheres.jsonl")[-1]
    assert verdict["kind"] == "verdict" and verdict["verdict"] in ("valid", "invalid", "undecided")
    assert re.search(r"'models': 1", capsys.readouterr().out)

"""The scripts of experiments/measured and experiments/paper-scale: their equations, and a few steps of each."""

import importlib

import jax.numpy as jnp
import numpy as np
import pytest
import scipy

from experiments.measured import pendulums, sets
from experiments.measured import run as measured
from kuttax.io.records import read

SPACING, RUNS, ROWS = pendulums.SPACING, 5, 200


def rods(t, x):
    """Two rods, from forces: Newton's equations of two masses at their ends, solved for the tensions too."""
    del t
    a, b, va, vb = x
    m1, m2, l1, l2, g = 0.8, 0.5, 0.3, 0.2, 9.81
    # unknowns: the angular accelerations, the tensions; angles are pi where a rod hangs
    s1, c1, s2, c2 = np.sin(a), np.cos(a), np.sin(b), np.cos(b)
    left = np.array(
        [
            [m1 * l1 * c1, 0.0, s1, -s2],
            [-m1 * l1 * s1, 0.0, c1, -c2],
            [m2 * l1 * c1, m2 * l2 * c2, 0.0, s2],
            [-m2 * l1 * s1, -m2 * l2 * s2, 0.0, c2],
        ]
    )
    right = np.array(
        [
            m1 * l1 * s1 * va**2,
            m1 * l1 * c1 * va**2 - m1 * g,
            m2 * (l1 * s1 * va**2 + l2 * s2 * vb**2),
            m2 * (l1 * c1 * va**2 + l2 * c2 * vb**2) - m2 * g,
        ]
    )
    return np.array([va, vb, *np.linalg.solve(left, right)[:2]])


@pytest.fixture
def file(tmp_path, rng):
    """Runs of two rods, 10 ms apart, as the rig's file has them."""
    times, lines = SPACING * np.arange(ROWS), ["trajectory,t,x1,x2,x3,x4"]
    for n in range(RUNS):
        start = np.array([np.pi, np.pi, 0, 0]) + rng.uniform(-1.5, 1.5, 4)
        path = scipy.integrate.solve_ivp(rods, (0, times[-1]), start, t_eval=times, rtol=1e-9, atol=1e-9).y.T
        lines += [
            f"{n},{t:.3f},{','.join(f'{value:.8f}' for value in row)}" for t, row in zip(times, path, strict=True)
        ]
    (tmp_path / "double_pendulum.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "double_pendulum.csv"


@pytest.mark.experiment
def test_the_equations_of_the_double_pendulum_are_those_of_its_forces(file, rng):
    known = pendulums.double(file)
    for _ in range(5):
        x = np.array([np.pi, np.pi, 0, 0]) + rng.uniform(-1.5, 1.5, 4)
        np.testing.assert_allclose(known(jnp.asarray(x), None), rods(0.0, x), rtol=0.02, atol=0.2)


@pytest.mark.experiment
def test_parts_are_of_different_runs_and_begin_at_each_of_the_first_rows(file):
    parts = pendulums.splits(file, 12)
    assert [len(part) for part in parts] == [12 * (RUNS - 2), 12, 1]
    whole = np.loadtxt(file, delimiter=",", skiprows=1)
    for part in parts:
        for one in part:
            np.testing.assert_allclose(np.diff(one.t), 12 * SPACING)
            (row,) = np.flatnonzero((whole[:, 2:] == one.x[0]).all(axis=1))
            np.testing.assert_array_equal(whole[row : row + ROWS : 12][: len(one.x), 2:], one.x)


@pytest.mark.experiment
def test_a_few_steps_of_the_measured_sets(file, tmp_path, monkeypatch):
    few = [one for one in measured.methods((4, 8)) if one[0] in ({"method": "rk4", "budget": 4},)]
    base = {"method": "dopri5", "budget": None}
    few.append((base, few[0][1]))
    monkeypatch.setattr(measured, "methods", lambda budgets: iter(few))
    call = [
        "--data-dir",
        str(file.parent),
        "--out",
        str(tmp_path),
        "--sets",
        "double-pendulum",
        "--seeds",
        "1",
        "--smoke",
    ]
    measured.main(call)
    found = read(tmp_path / "records.jsonl")
    assert [r["field"] for r in found] == ["mlp", "mlp", "physics", "physics"]
    assert np.array(found[0]["errors"]).shape == (sets.SETS["double-pendulum"].options["horizon"], 4)
    measured.main(call)
    assert read(tmp_path / "records.jsonl") == found
    assert "| double-pendulum | physics | RK4, 4 | 4 |" in (tmp_path / "table.md").read_text()
    assert (tmp_path / "ahead.png").stat().st_size > 0


@pytest.mark.experiment
def test_a_training_at_paper_scale_goes_on_where_its_minutes_were_over(tmp_path, capsys):
    run = importlib.import_module("experiments.paper-scale.run")
    call = ["--smoke", "--seeds", "1", "--methods", "vanilla", "--trainings", "mnist-float32", "--out", str(tmp_path)]
    run.main([*call, "--minutes", "0"])
    assert "left: mnist-float32 vanilla, seed 0. Run the command again" in capsys.readouterr().out
    run.main(call)
    assert capsys.readouterr().out.endswith("all is recorded\n")
    assert read(tmp_path / "records.jsonl")[0]["nfe"] > 8
    assert "| mnist-float32 | vanilla |" in (tmp_path / "table.md").read_text()

"""Densities and flows from the command line: a run leaves its files and picture, a bad table one line."""

import json

import numpy as np
import pytest

import kuttax as kx
from kuttax.commands import main as cli
from kuttax.tasks import build
from kuttax.tasks.density import portrait as portraits
from kuttax.training.checkpoint import load_run
from kuttax.training.evaluate import evaluate
from kuttax.training.loop import Trainer
from kuttax.training.settings import Settings

pytestmark = pytest.mark.usefixtures("any_certificate")

SMALL = ("--width=4", "--depth=1", "--train-steps=2", "--per-dispatch=2", "--evaluations=1", "--batch-size=64")
TOY = ("--samples=64", "--test-samples=64")


def kuttax_main(*arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    return stop.value.code or 0


def test_a_run_on_a_toy_leaves_its_record_and_picture(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(portraits, "_SIDE", 16)
    out = tmp_path / "run"
    solver = ("--solver=learned", "--stages=2", "--steps=1")
    assert kuttax_main("train", "density", "--data=pinwheel", *SMALL, *TOY, *solver, "--out", out) == 0
    said = capsys.readouterr().out
    assert "NLL: validation" in said and "nats" in said
    record = json.loads((out / "record.json").read_text())
    metric = {"name": "NLL", "higher_is_better": False, "unit": "nats", "mean": "arithmetic"}
    assert record["metric"] == metric and record["nfe"] == 2
    task, model, own = load_run(out)
    assert isinstance(own, kx.LearnedRK) and own.trained_for == (1.0, 0.0)
    assert evaluate(task, model, own, task.test, 64).metric == pytest.approx(record["test"], rel=1e-6)
    assert all((out / f"density.{kind}").stat().st_size > 1000 for kind in ("png", "svg"))
    with np.load(out / "density.npz") as drawn:
        assert np.isfinite(drawn["log_density"]).all() and drawn["samples"].shape == (64, 2)


@pytest.mark.slow
def test_flow_trains_on_a_table_of_ones_own(tmp_path, rng):
    path = tmp_path / "mine.csv"
    np.savetxt(path, rng.standard_normal((200, 3)), delimiter=",", header="a,b,c", comments="")
    task = build("flow", file=str(path), coupling="optimal", width=4, depth=1)
    solver = kx.LearnedRK.from_tableau(kx.tableaus.MIDPOINT, 1, order=1, dtype=np.float32)
    settings = Settings(train_steps=2, per_dispatch=2, evaluations=1, batch_size=64)
    trained = Trainer(task, solver, settings).run(0)
    assert task.dimensions == 3 and task.portrait(trained.model) is None
    assert np.isfinite(trained.validation.metric)
    before, after = (solver.table(np.float32).b for solver in (solver, trained.solver))
    assert np.any(np.asarray(before) != np.asarray(after)), "the solver is fitted too"


@pytest.mark.parametrize("task", ["density", "flow"])
@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("1,2\nnan,4\n", "line 2: column 1 is 'nan', and may have no gaps"),
        ("1,2\n3\n", "line 2: the first line has 2 cells, this one 1"),
        ("", "no observations: give one line for each"),
        ("x,y\n1,2\n3,high\n", "line 3: y is no number but 'high'"),
        ("1,2\n" * 2, "cannot be split off"),
        ("1,2\n" * 300, "column 1 is constant"),
    ],
)
def test_a_bad_table_is_one_line(tmp_path, capsys, monkeypatch, task, table, says):
    monkeypatch.setattr(Trainer, "run", lambda *_: pytest.fail("training began"))
    (tmp_path / "bad.csv").write_text(table)
    assert kuttax_main("train", task, "--file", tmp_path / "bad.csv", "--out", tmp_path / "run") == 2
    err = capsys.readouterr().err
    assert err.startswith("kuttax: ") and err.count("\n") == 1 and says in err and "bad.csv" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--data=moon",), "unknown data 'moon'; known: moons, circles"),
        (("--data=power", "--data-dir=nowhere"), "power/data.npy: no such file"),
        (("--units=bans",), "--units must be one of"),
        (("--samples=0",), "--samples must be >= 1, got 0"),
        (("--trace=none",), "--trace must be one of"),
    ],
)
def test_an_option_that_cannot_be_is_one_line(tmp_path, capsys, monkeypatch, options, says):
    monkeypatch.chdir(tmp_path)
    assert kuttax_main("train", "density", *options) == 2
    err = capsys.readouterr().err
    assert err.startswith("kuttax: ") and err.count("\n") == 1 and says in err, err

"""The experiments' own scripts, for a few steps."""

import importlib
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import kuttax as kx
from experiments.fit import cases
from experiments.fit import draw as fit_draw
from experiments.fit import run as fit_run
from kuttax.data import Dataset
from kuttax.data.images import mnist
from kuttax.io.records import read
from kuttax.tasks.registry import build
from kuttax.training.settings import Settings

ROOT = Path(__file__).parents[1]


def script(name: str, monkeypatch):
    """A module of the experiments of its own: what it is changed to stays in one test."""
    monkeypatch.delitem(sys.modules, f"experiments.{name}", raising=False)
    return importlib.import_module(f"experiments.{name}")


@pytest.fixture
def scripts(monkeypatch):
    """The modules of local-regularization/, with a cheap solver, whatever its first step, and two methods."""
    modules = {name: script(f"local-regularization.{name}", monkeypatch) for name in ("run", "draw")}
    run = modules["run"]
    monkeypatch.setattr(run, "solver", lambda first=None: kx.Adaptive(kx.tableaus.BOSH3, 1e-3, 1e-3))
    ours = run.METHODS["budget-1"]
    for name in set(run.METHODS) - {"vanilla", "budget-1"}:
        monkeypatch.delitem(run.METHODS, name)
    monkeypatch.setitem(run.METHODS, "budget-1", run.Method(ours.label, ours.penalty, (1.0,), 1.0))
    return modules


@pytest.mark.experiment
def test_local_regularization_from_search_to_table(scripts, tmp_path, monkeypatch):
    run, draw = scripts["run"], scripts["draw"]
    task, settings, names = build("digits", width=4), Settings(train_steps=2, batch_size=64), list(run.METHODS)
    run.search(task, settings, tmp_path, names)
    run.final(task, settings, tmp_path, names, seeds=1)
    run.timings(task, settings, tmp_path, names, seeds=1, repeats=1)
    run.in_float64(task, settings, tmp_path, ["budget-1"])
    assert [r["dtype"] for r in run.recorded(tmp_path).all(kind="float64")] == ["float64"]
    written = (tmp_path / "records.jsonl").read_text()
    for stage in (run.search, run.final):
        stage(task, settings, tmp_path, names, *([1] if stage is run.final else []))
    assert (tmp_path / "records.jsonl").read_text() == written, "what is recorded is not run again"
    draw.main(["--out", str(tmp_path)])
    assert "h = T" in (tmp_path / "table.md").read_text()
    assert (tmp_path / "front.svg").stat().st_size > 0


def test_the_weight_is_the_cheapest_that_keeps_the_accuracy(scripts):
    chosen = scripts["run"].chosen
    row = lambda method, weight, validation, nfe: {
        "method": method,
        "weight": weight,
        "validation": validation,
        "nfe_validation": nfe,
    }
    found = [
        row("vanilla", 0.0, 95.0, 50),
        row("x", 1.0, 94.6, 40),
        row("x", 10.0, 94.5, 30),
        row("x", 100.0, 94.4, 20),
    ]
    assert chosen(found, "x") == 10.0
    assert chosen([found[0], row("x", 1.0, 90.0, 20), row("x", 10.0, 91.0, 30)], "x") == 10.0


@pytest.mark.experiment
@pytest.mark.parametrize(
    ("name", "options", "records", "row"),
    [
        (
            "dynamics",
            ["--systems", "pendulum", "--nfe", "2"],
            "pendulum/records.jsonl",
            "| pendulum | kx.fit, NFE 2 | 2 |",
        ),
        (
            "identify-lorenz",
            ["--steps", "0.3", "--methods", "learned, 5 steps of 2"],
            "records.jsonl",
            "| learned, 5 steps of 2 | 10 |",
        ),
    ],
)
def test_identification_from_fit_to_table(name, options, records, row, tmp_path, monkeypatch, any_certificate):
    module = script(f"{name}.run", monkeypatch)
    if name == "dynamics":
        methods = list(module.methods([2]))
        monkeypatch.setattr(module, "methods", lambda budgets: [methods[0], methods[-1]])
    arguments = ["--out", str(tmp_path), "--seeds", "1", "--smoke", *options]
    module.main(arguments)
    written = (tmp_path / records).read_text()
    assert row in (tmp_path / "table.md").read_text()
    module.main(arguments)
    assert (tmp_path / records).read_text() == written, "what is recorded is not run again"


@pytest.mark.experiment
def test_latent_from_search_to_table(tmp_path, monkeypatch):
    module = script("latent.run", monkeypatch)
    penalised = module.METHODS["local-unbiased"]
    monkeypatch.setitem(module.METHODS, "local-unbiased", penalised._replace(weights=(0.1,)))
    arguments = ["--out", str(tmp_path), "--seeds", "1", "--smoke", "--repeats", "1", "--methods", "local-unbiased"]
    module.main(arguments)
    written = (tmp_path / "synthetic.jsonl").read_text()
    assert len(written.splitlines()) == 6  # two searches, two final runs, two timings
    assert "| local error, unbiased | 0.1 |" in (tmp_path / "synthetic.md").read_text()
    module.main(arguments)
    assert (tmp_path / "synthetic.jsonl").read_text() == written, "what is recorded is not run again"


@pytest.mark.experiment
def test_series_from_search_to_table(tmp_path, monkeypatch):
    module = script("series.run", monkeypatch)
    monkeypatch.setitem(module.CASES, "spirals", module.CASES["spirals"]._replace(paths=((3, 1),)))
    monkeypatch.setattr(module, "SOLVERS", {name: module.SOLVERS[name] for name in ("midpoint", "euler")})
    monkeypatch.setattr(module, "ROUNDS", 1)
    arguments = ["--out", str(tmp_path), "--data", "spirals", "--seeds", "1", "--smoke"]
    module.main(arguments)
    written = (tmp_path / "spirals.jsonl").read_text()
    assert len(written.splitlines()) == 5  # two searches, two final runs, one timing
    assert "| spirals | 3 windows, log-signature 1 |" in (tmp_path / "table.md").read_text()
    module.main(arguments)
    assert (tmp_path / "spirals.jsonl").read_text() == written, "what is recorded is not run again"


@pytest.mark.experiment
@pytest.mark.parametrize(
    ("name", "options", "students"),
    [
        ("distill-flow", ["--nfe", "4"], ("per step", "anchored")),
        ("distill-lorenz", ["--steps", "0.1"], ("order 3",)),
    ],
)
def test_distillation_goes_on_where_it_was(name, options, students, tmp_path, monkeypatch, capsys):
    """Under the settings of a plain run: float32, and a promotion that is not strict."""
    module = script(f"{name}.run", monkeypatch)
    starts = (lambda kind: [module.STUDENTS[kind](4)]) if name == "distill-flow" else module.students
    assert [{student.nfe for student in starts(kind)} for kind in module.STUDENTS] == [{4}] * 4
    monkeypatch.setattr(module, "STUDENTS", {student: module.STUDENTS[student] for student in students})
    if name == "distill-lorenz":
        monkeypatch.setattr(module, "STARTS", module.STARTS[:1])
    arguments = ["--out", str(tmp_path), "--seeds", "1", "--smoke", *options]
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        module.main(arguments)
        kept = (tmp_path / "records.jsonl").read_text()
        assert len(kept.splitlines()) == 1 + len(students)
        (tmp_path / "records.jsonl").write_text("".join(kept.splitlines(keepends=True)[1:]))
        capsys.readouterr()
        module.main(arguments)
    assert len(capsys.readouterr().out.splitlines()) == 1  # the row of classical solvers, which was missing
    table = (tmp_path / "table.md").read_text()
    assert all(f"| {student} |" in table for student in students)


@pytest.mark.experiment
def test_sde_from_search_to_table(tmp_path, monkeypatch):
    """The digits' data are random ones: what they show is of no account here."""
    rng = np.random.default_rng(0)
    part = lambda n: Dataset(rng.random((n, 1, 28, 28), np.float32), np.arange(n, dtype=np.int32) % 10)
    monkeypatch.setattr(mnist, "load", lambda directory: (part(100), part(20)))
    module = script("sde.run", monkeypatch)
    common = ["--out", str(tmp_path), "--seeds", "1", "--repeats", "1", "--smoke", "--methods", "grid-local"]
    for stage in ("search", "final"):
        module.main([stage, "--tasks", "mnist-sde", *common])
    found = read(tmp_path / "records.jsonl")
    assert [r["kind"] for r in found] == 2 * ["search"] + 2 * ["final"] + 2 * ["time"]
    assert all(r["nfe_diffusion"] == r["nfe"] for r in found if r["kind"] == "final")
    module.main(["final", "--tasks", "mnist-sde", *common])
    assert read(tmp_path / "records.jsonl") == found, "what is recorded is not run again"
    assert "| mnist-sde | fixed grid, local error of its step | 0.03 |" in (tmp_path / "table.md").read_text()


@pytest.mark.experiment
def test_levers_from_fit_to_front(tmp_path, monkeypatch, any_certificate):
    monkeypatch.setattr(cases.Case, "alone", property(lambda self: [self.levers]))
    arguments = ["--tasks", "lorenz63", "--nfe", "4", "--seeds", "1", "--smoke", "--out", str(tmp_path)]
    fit_run.main(arguments)
    written = (tmp_path / "records.jsonl").read_text()
    assert len(written.splitlines()) == 2
    fit_run.main(arguments)
    assert (tmp_path / "records.jsonl").read_text() == written, "what is recorded is not run again"
    fit_draw.main(["--out", str(tmp_path)])
    table = (tmp_path / "table.md").read_text()
    assert "| lorenz63 | 4 | all |" in table
    assert (tmp_path / "front.svg").stat().st_size > 0


def test_a_task_has_the_levers_that_its_kind_has():
    known = cases.cases(None, smoke=True)
    assert known["spiral-sde"].alone == [(), ("learned",), ("consistency",), ("learned", "consistency")]
    assert not known["spiral-sde"].pairs and len(known["moons"].pairs) == 6


@pytest.mark.experiment
def test_a_kill_is_recorded_and_its_run_ends_in_the_same_bits(tmp_path):
    """In a process of its own, for it forks: this one has begun to compute."""
    command = [sys.executable, "-m", "experiments.resume.kills", "--smoke", "--kills", "1", "--damages", "0"]
    done = subprocess.run([*command, "--out", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| midpoint | 1 |" in (tmp_path / "table.md").read_text()


@pytest.mark.experiment
def test_damping_runs_and_its_algebra_is_the_closed_form(tmp_path, monkeypatch):
    run, algebra = (importlib.import_module(f"experiments.damping.{name}") for name in ("run", "algebra"))
    true = complex(-0.05, 1.5)
    assert algebra.learned_eigenvalue(kx.tableaus.EULER, true, 1.0) == pytest.approx(np.exp(true) - 1, abs=1e-10)
    few = [one for one in run.methods() if one[0] == {"method": "rk4", "steps": 1}]
    monkeypatch.setattr(run, "methods", lambda: iter(few))
    call = ["--smoke", "--seeds", "1", "--systems", "rotation", "--out", str(tmp_path)]
    run.main(call)
    found = read(tmp_path / "records.jsonl")
    assert found[0]["predicted"] == pytest.approx([0.01456, 1.51755], abs=1e-5)
    run.main(call)
    assert read(tmp_path / "records.jsonl") == found
    assert "| rotation | RK4, 1 step |" in (tmp_path / "table.md").read_text()
    assert (tmp_path / "rates.png").stat().st_size > 0

"""Tasks of SDEs: data, losses and models against NumPy, noise that repeats, and the commands on them."""

import functools
import json
import re

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kuttax as kx
from kuttax.commands import fit as fit_command
from kuttax.commands import main as cli
from kuttax.data import Dataset, Splits
from kuttax.data.systems import spiral_sde
from kuttax.errors import UserError
from kuttax.io import records
from kuttax.io.checkpoints import Checkpoints
from kuttax.nn import NeuralSDEClassifier
from kuttax.report import fan as drawing
from kuttax.solvers.diffrax.even_steps import EvenSteps
from kuttax.solvers.serialise import from_json, to_json
from kuttax.tasks import MomentFit, StochasticClassification, Task, build
from kuttax.tasks.stochastic.fan import fan
from kuttax.tasks.stochastic.moment_fit import MomentSplits
from kuttax.training.loop import Trainer
from kuttax.training.settings import Settings
from kuttax.validity.certificate import one_path

EULER = kx.EulerMaruyama(1)
SMALL = {"trajectories": 40, "held_out": 20, "width": 4}


@pytest.fixture(scope="module")
def spiral() -> MomentFit:
    task = build("spiral-sde", calculus="ito", **SMALL)
    assert isinstance(task, MomentFit)
    return task


@pytest.fixture(scope="module")
def classes() -> StochasticClassification:
    rng = np.random.default_rng(0)
    part = lambda: Dataset(rng.standard_normal((30, 2, 3)), np.arange(30) % 3)
    return StochasticClassification("small", Splits(part(), part(), part()), states=4, width=5, calculus="ito")


def on_device(batch):
    return jax.tree.map(jnp.asarray, batch)


# Data and losses


def test_moments_of_the_data_are_those_of_euler_maruyama():
    """By hand, from the Ito form, at 200 steps an interval: its own error is that of a step, about one percent."""
    rng, n, steps = np.random.default_rng(1), 1500, 200
    y, h = np.tile([2.0, 0.0], (n, 1)), 1 / 29 / steps
    mean, var = [y.mean(0)], [y.var(0)]
    for _ in range(29):
        for _ in range(steps):
            u, v = (y * y * y).T
            drift = np.stack([2 * v - 0.1 * u, -2 * u - 0.1 * v], axis=1)
            y = y + h * drift + 0.2 * y * np.sqrt(h) * rng.standard_normal(y.shape)
        mean.append(y.mean(0))
        var.append(y.var(0))
    data = spiral_sde.trajectories(20_000, seed=0)
    assert data.shape == (20_000, 30, 2) and len(spiral_sde.TIMES) == 30
    error = 5 * np.sqrt(np.array(var) / n) + 0.02
    assert (np.abs(data.mean(0) - mean) < error).all()
    np.testing.assert_allclose(data.var(0), var, rtol=0.15, atol=0.02)


def test_the_loss_is_the_distance_of_moments_of_paths_of_its_key(spiral, key):
    batch, model = on_device(jax.tree.map(lambda x: x[:7], spiral.train)), spiral.init(key)
    loss, log = spiral.loss(model, EULER, batch, key)
    start = jnp.full((7, 2), jnp.array([2.0, 0.0], jnp.float32))
    ys = kx.solve(model, start, 0.0, 1.0, solver=EULER, ts=spiral.times, batch_axis=0, key=key).ys
    y, data = np.asarray(ys, np.float64), spiral_sde.trajectories(80, 0)[:40]
    mean_gap, var_gap = y.mean(1) - data.mean(0), y.var(1) * 7 / 6 - data.var(0) * 40 / 39
    np.testing.assert_allclose(loss, np.mean(mean_gap**2) + np.mean(var_gap**2), rtol=1e-5)
    assert log["nfe"] == 1 and log["status"] == 0 and log["metric"] == loss
    held_out = spiral.predict(model, EULER, jax.tree.map(lambda x: x[:7], spiral.test))
    data = spiral_sde.trajectories(80, 0)[60:]
    y = np.concatenate([np.full((7, 1, 2), [2.0, 0.0]), held_out.outputs], axis=1)
    gaps = y.mean(0) - data.mean(0), y.var(0, ddof=1) - data.var(0, ddof=1)
    np.testing.assert_allclose(held_out.metric, sum(np.mean(gap**2) for gap in gaps), rtol=1e-5)


def test_the_classifier_is_its_formula(key):
    """One step of Euler-Maruyama by hand, with the path's own increment."""
    model = NeuralSDEClassifier(6, 4, 5, 3, calculus="ito", key=key)
    x = np.random.default_rng(0).standard_normal((8, 6))
    logits, sol = model(EULER, jnp.asarray(x), key)
    affine = lambda layer, y: y @ np.asarray(layer.weight, np.float64).T + np.asarray(layer.bias)
    y0 = affine(model.down, x)
    first, second = model.sde.drift.layers
    dw = np.asarray(kx.BrownianPath(key, jax.ShapeDtypeStruct((8, 4), jnp.float64)).increment(0).w)
    y1 = y0 + affine(second, np.tanh(affine(first, y0))) + affine(model.sde.diffusion.layers[0], y0) * dw
    np.testing.assert_allclose(logits, affine(model.head, y1), rtol=1e-6)
    assert (sol.stats.nfe, sol.stats.nfe_diffusion) == (1, 1)


@pytest.mark.parametrize("name", ["spiral", "classes"])
def test_noise_of_predictions(name, request, key):
    """The same for the same batch, another for another batch; the loss's is its key's."""
    task = request.getfixturevalue(name)
    assert isinstance(task, Task) and task.calculus == "ito"
    model, predict, loss = task.init(key), eqx.filter_jit(task.predict), eqx.filter_jit(task.loss)
    batch = lambda rows: on_device(jax.tree.map(lambda x: x[rows], task.test))
    one, again = (predict(model, EULER, batch(slice(10))).outputs for _ in range(2))
    np.testing.assert_array_equal(one, again)
    moved = batch(slice(10))._replace(number=jnp.arange(10, 20))
    assert (np.asarray(predict(model, EULER, moved).outputs) != one).all()
    a, b = jax.random.split(key)
    losses = [loss(model, EULER, batch(slice(10)), k)[0] for k in (a, a, b)]
    assert losses[0] == losses[1] != losses[2]


def test_training_repeats_and_resumes_bit_for_bit(classes, tmp_path):
    settings = Settings(train_steps=6, per_dispatch=2, batch_size=10, evaluations=1)
    trainer = Trainer(classes, EULER, settings)
    whole, other = trainer.run(0), trainer.run(1)

    class Killed(BaseException):
        pass

    def kill(now):
        if now.step == 4:
            raise Killed

    checkpoints = Checkpoints(tmp_path / "ckpt", every=0.0)
    with pytest.raises(Killed):
        trainer.run(0, kill, checkpoints)
    resumed = trainer.run(0, start=checkpoints.latest())
    leaves = [jax.tree.leaves(eqx.filter(run.model, eqx.is_array)) for run in (whole, resumed, other)]
    for a, b, c in zip(*leaves, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (np.asarray(a) != c).any()
    assert whole.validation == resumed.validation and whole.validation.nfe_diffusion == 1


def test_what_cannot_be(spiral, classes, rng, key):
    parts = MomentSplits(*(rng.standard_normal((4, 3, 2)) for _ in range(3)))
    times = np.linspace(0, 1, 3)
    one = jax.tree.map(lambda x: x[:1], spiral.test)
    broken = parts._replace(test=np.full((4, 3, 2), np.nan))
    for make, says in (
        (lambda: MomentFit("x", times[:2], parts), "x, train: expected at least two trajectories of 2 states"),
        (lambda: MomentFit("x", times, broken), "x, test: trajectory 0 is not finite"),
        (lambda: build("spiral-sde", held_out=1), "held_out must be >= 2, got 1"),
        (lambda: build("mnist-sde", states=0), "states must be >= 1, got 0"),
        (lambda: StochasticClassification("x", classes.splits, states=0), "states must be >= 1, got 0"),
        (lambda: spiral.predict(spiral.init(key), EULER, one), "one trajectory has no variance"),
    ):
        with pytest.raises(UserError, match=says):
            make()


# Solvers


def test_steps_end_at_times_and_are_even_between():
    """A constant size of 0.1: what a time cuts is divided, none left over."""
    ts = np.array([0.15, 0.3, 0.3005, 1.0])
    constant = diffrax.PIDController(rtol=1e3, atol=1e3, dtmax=0.1)
    controller = EvenSteps(constant, jnp.asarray(ts))  # pyright: ignore[reportCallIssue]
    sol = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: -y),
        diffrax.Heun(),
        0.0,
        1.0,
        0.1,
        jnp.ones(()),
        stepsize_controller=controller,
        saveat=diffrax.SaveAt(steps=True),
        max_steps=64,
    )
    found = np.asarray(sol.ts)[np.isfinite(sol.ts)]
    assert set(ts) <= set(found)
    steps = np.diff(np.concatenate([[0.0], found]))
    np.testing.assert_allclose(steps[:2], 0.075, rtol=1e-6)
    assert steps.max() <= 0.1001 and np.sum(steps < 0.03) <= 1 + np.sum(np.diff(ts) < 0.03)


@pytest.mark.parametrize("solver", [diffrax.SPaRK(), diffrax.ShARK(), diffrax.SRA1()])
def test_named_solvers_are_saved(solver):
    again = from_json(json.loads(json.dumps(to_json(kx.FromDiffrax(solver, 1e-2, 1e-3)))))
    assert isinstance(again, kx.FromDiffrax) and eqx.tree_equal(again.solver, solver) is True
    assert (again.rtol, again.atol, again.steps) == (1e-2, 1e-3, None)
    with pytest.raises(UserError, match="cannot be saved"):
        to_json(kx.FromDiffrax(diffrax.Kvaerno5()))


# Fan charts


def test_a_fan_holds_quantiles(rng, tmp_path):
    model, data, times = rng.standard_normal((200, 3, 2)), rng.standard_normal((100, 3, 2)), np.arange(3.0)
    found = fan(times, model, data)
    np.testing.assert_allclose(found.model[2], np.median(model, axis=0))
    np.testing.assert_allclose(found.data[0], np.quantile(data, 0.05, axis=0))
    np.savez(tmp_path / "fan.npz", **found._asdict())
    for file in drawing.plot(tmp_path / "fan.npz"):
        assert file.stat().st_size > 1000


# Commands

OPTIONS = ["--trajectories", "40", "--held-out", "20", "--width", "4", "--train-steps", "2", "--per-dispatch", "2"]
OPTIONS += ["--batch-size", "20", "--evaluations", "1"]


@pytest.fixture(autouse=True)
def _short_references(monkeypatch):
    """Certificates at 16 steps an interval in place of 1,024."""
    monkeypatch.setattr(one_path, "_LEAST", 16)
    monkeypatch.setattr(one_path, "_TIMES", 8)


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    return stop.value.code or 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("train spiral-sde --solver rk4 --steps 2", "is for ODEs, and spiral-sde is an SDE: use spark, milstein"),
        ("train digits --solver srk --steps 2", r"SRK\(steps=2\) is for SDEs, and digits is an ODE: use learned"),
        ("train latent --dynamics sde", "is for ODEs, and latent is an SDE: use euler-maruyama, milstein, .*srk"),
        ("train spiral-sde --solver srk --steps 2", "Ito SDEs, .* read as Stratonovich: .* with --calculus ito"),
        ("train spiral-sde --calculus ito", "Stratonovich SDEs, .* read as Ito: use euler-maruyama, milstein, .*srk"),
        ("train spiral-sde --solver milstein", "milstein has no error estimate to choose steps with: give --steps"),
        ("train spiral-sde --steps 3", "spark chooses its steps by --rtol and --atol: for --steps use euler-maruyama"),
        ("train spiral-sde --stages 3", "--stages changes nothing with --solver spark: leave it out"),
        ("train spiral-sde --control per_sample", "--control changes nothing with --solver spark: leave it out"),
        ("train spiral-sde --penalty kinetic", "Kinetic is for ODEs: with an SDE use LocalError"),
        ("compare spiral-sde --methods rk4", "unknown method 'rk4'; known of stratonovich SDEs: spark, milstein"),
        ("compare spiral-sde --solver milstein", "--solver changes nothing without --penalties"),
        ("fit spiral-sde --nfe 3 --stages 2", "nfe must be a multiple of the stages .* 1 or 2; got 3"),
    ],
)
def test_one_line_says_what_to_use(arguments, says, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments.split()) == 2
    error = capsys.readouterr().err
    assert re.search(says, error) and error.count("\n") == 1


@pytest.mark.slow
def test_train_evaluate_and_certify(tmp_path, capsys):
    out = tmp_path / "run"
    assert run("train", "spiral-sde", *OPTIONS, "--rtol", "0.1", "--atol", "0.1", "--out", out) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "of the drift" in said and "in law" in said and "StochasticHeun(steps=16)" in said
    record = json.loads((out / "record.json").read_text())
    assert record["nfe_diffusion"] == pytest.approx(2 * record["nfe"], rel=1e-6)
    assert record["method"] == "spark" and {"fan.npz", "fan.png", "solver.json"} <= {p.name for p in out.iterdir()}
    assert run("evaluate", out) == 0
    assert f"{record['test']:.4g}" in capsys.readouterr().out, "the same numbers again"
    assert run("evaluate", out, "--solver", "srk", "--steps", "1") == 2
    assert run("evaluate", out, "--solver", "milstein", "--steps", "1") == 0
    assert "NFE 1 of the drift, 1 of the diffusion" in capsys.readouterr().out


@pytest.mark.slow
def test_compare_and_report(tmp_path, capsys, any_certificate):
    out, options = tmp_path / "compare", ["--calculus", "ito", "--nfe", "1", "--seeds", "1"]
    assert run("compare", "spiral-sde", *OPTIONS, *options, "--out", out) == 0
    assert "left out srk, which evaluates the drift 2 times a step" in capsys.readouterr().out
    rows = [r for r in records.read(out / "records.jsonl") if r["kind"] == "run"]
    assert [r["label"] for r in rows][:2] == ["euler-maruyama, 1 step", "milstein, 1 step"]
    assert all(r["nfe"] == r["nfe_diffusion"] == 1 for r in rows[:2])
    assert all(r["nfe"] == 1 and r["reference"] == "SRK(steps=16)" for r in rows)
    assert run("report", out) == 0
    assert "SRK(steps=16)" in (out / "index.html").read_text()


@pytest.mark.slow
def test_fit(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(fit_command, "fit", functools.partial(kx.fit, most_nfe=2))
    out = tmp_path / "fit"
    assert run("fit", "spiral-sde", *OPTIONS, "--nfe", "2", "--out", out) in (0, 1)
    said = capsys.readouterr().out
    assert "StochasticHeun(steps=1)" in said and "on paths" in said
    assert run("certify", out, "--samples", "10") in (0, 1)

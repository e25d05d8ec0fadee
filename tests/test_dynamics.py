"""Dynamics: linear systems in closed form, errors by hand, gradients by finite differences, the command line."""

import dataclasses
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicHermiteSpline
from scipy.linalg import expm
from slowness import mostly_slow, slow

import kuttax as kx
from kuttax.commands.main import main
from kuttax.data.systems.trajectory import Source, Trajectory
from kuttax.data.systems.windows import Scaling, TrajectorySplits
from kuttax.errors import UserError
from kuttax.nn.fields.bilinear import BilinearField
from kuttax.nn.fields.identified import Identified
from kuttax.report import forecast as drawing
from kuttax.solvers.base.solution import SolveError
from kuttax.tasks import TASKS, Dynamics, Task, build
from kuttax.tasks.dynamics.forecast import VALID, describe
from kuttax.training.certify import certify_run
from kuttax.training.checkpoint import load_run
from kuttax.training.evaluate import evaluate
from kuttax.training.loop import Trainer
from kuttax.training.settings import Settings

pytestmark = pytest.mark.usefixtures("any_certificate")

A = np.array([[-0.3, 2.0], [-2.0, -0.1]])
B = np.array([0.5, 1.0])
FINE = kx.Adaptive(kx.tableaus.DOPRI5, 1e-6, 1e-6)
PLAIN = Scaling(1.0, np.zeros(2), np.ones(2), np.zeros(0), np.ones(0), np.ones(2))
SOURCE = Source("time", ("a", "b"))
RK4 = kx.FixedSteps(kx.tableaus.RK4, 2)


def known(x, u):
    """The whole truth of `linear`."""
    slope = jnp.asarray(A, x.dtype) @ x
    return slope + jnp.asarray(B, x.dtype) * u[0] if u.size else slope


def linear(rng, *, irregular=False, driven=False, rows=16, count=6) -> TrajectorySplits:
    """x' = A x + B u, u piecewise linear, by matrix exponentials: the state is extended by u and u'."""
    found = []
    for _ in range(count):
        t = np.cumsum(rng.uniform(0.05, 0.25, rows) if irregular else np.full(rows, 0.1))
        u = rng.standard_normal(rows) if driven else np.zeros(rows)
        whole = np.zeros((4, 4))
        whole[:2, :2], whole[:2, 2], whole[2, 3] = A, B, 1
        x = [rng.standard_normal(2) + 3]
        for k in range(rows - 1):
            gap = t[k + 1] - t[k]
            x.append((expm(gap * whole) @ [*x[-1], u[k], (u[k + 1] - u[k]) / gap])[:2])
        found.append(Trajectory(t, np.stack(x), u[:, None] if driven else np.zeros((rows, 0))))
    return TrajectorySplits(found[:4], found[4:5], found[5:])


def on_device(batch):
    return jax.tree.map(jnp.asarray, batch)


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "verdict"), [(3, "valid"), (1, "invalid")])
def test_an_rmse_near_zero_has_a_floor_in_standard_deviations(steps, verdict, rng, key):
    """The truth, a slowly decaying rotation by 1.5 rad in an interval: the references' rmse is next to nothing.

    (h |lambda|)^5 / 120, the error of a step of RK4, is 0.0003 with three steps an interval and 0.06 with one.
    """
    matrix = np.array([[-0.05, -1.5], [1.5, -0.05]])
    flow = expm(matrix)

    def trajectory():
        x = [rng.standard_normal(2)]
        for _ in range(30):
            x.append(flow @ x[-1])
        return Trajectory(np.arange(31.0), np.stack(x), np.zeros((31, 0)))

    made = [trajectory() for _ in range(16)]
    field = lambda x, u: jnp.asarray(matrix, x.dtype) @ x
    task = Dynamics("rotation", TrajectorySplits(made[:2], made[2:14], made[14:]), known=field, horizon=10, width=4)
    assert (len(task.validation.z), len(task.test.z)) == (132, 6), "only windows to validate on overlap, where few"
    assert (
        certify_run(task, task.init(key), kx.FixedSteps(kx.tableaus.RK4, steps), task.validation, 132).verdict
        == verdict
    )


@pytest.mark.parametrize(("irregular", "driven"), [slow(False, False), slow(True, False), (True, True)])
def test_a_known_field_forecasts_exactly(rng, key, irregular, driven):
    """Scaling, clock, control inputs and solve together: the network is silent and the physics complete."""
    task = Dynamics("linear", linear(rng, irregular=irregular, driven=driven), known=known, horizon=5, width=4)
    assert isinstance(task, Task) and task.plain == (not irregular and not driven)
    model = task.init(key)
    for solver in (FINE, kx.FixedSteps(kx.tableaus.RK4, 4)):
        found = task.predict(model, solver, on_device(task.test))
        assert found.outputs.shape == (3, 5, 2) and found.status == kx.Status.ok
        np.testing.assert_allclose(found.outputs, task.test.z[:, 1:], atol=2e-4)
        assert found.metric < 1e-4
    assert found.stats.nfe == 16, "for one interval"
    said = task.forecast(model, kx.FixedSteps(kx.tableaus.RK4, 4))
    assert said["diverged"] == 0 and max(said["rmse"]) < 1e-3 and len(said["rmse"]) == 15
    assert said["valid"]["whole"] == said["forecasts"] == 1


def interpolated(t, u, kind):
    """The control input as a function of time, by SciPy; the slope of a cubic looks back."""
    if kind == "hold":
        return lambda s: u[np.clip(np.searchsorted(t, s, side="right") - 1, 0, len(t) - 1)]
    if kind == "linear":
        return lambda s: np.interp(s, t, u)
    slope = np.diff(u) / np.diff(t)
    return CubicHermiteSpline(t, u, np.concatenate([slope[:1], slope]))


@pytest.mark.parametrize("kind", mostly_slow(["hold", "linear", "cubic"]))
@pytest.mark.parametrize("irregular", mostly_slow([False, True], True))
def test_control_inputs_between_observations(rng, key, kind, irregular):
    """Windows against SciPy, from observation to observation, under fixed steps and an adaptive solver."""
    parts = linear(rng, irregular=irregular, driven=True)
    task = Dynamics("linear", parts, known=known, horizon=5, width=4, input=kind)
    model, one = task.init(key), parts.test[0]
    for solver in (FINE, kx.FixedSteps(kx.tableaus.RK4, 4)):
        found = task.predict(model, solver, on_device(task.test))
        for window, start in enumerate(range(0, 15, 5)):
            t, u = one.t[start : start + 6], one.u[start : start + 6, 0]
            path, x, states = interpolated(t, u, kind), one.x[start], []
            for n in range(5):
                inside = lambda s, path=path, t=t, n=n: path(min(s, np.nextafter(t[n + 1], 0.0)))
                run = lambda s, x, inside=inside: A @ x + B * inside(s)
                x = solve_ivp(run, (t[n], t[n + 1]), x, "DOP853", rtol=1e-9, atol=1e-9).y[:, -1]
                states.append(x)
            np.testing.assert_allclose(found.outputs[window], task.scaling.standardised(np.array(states)), atol=2e-4)


def test_solvers_are_distilled_for_one_interval(rng, key):
    task = Dynamics("linear", linear(rng), known=known, horizon=5, width=4)
    field, y0, t0, t1, args = task.trajectories(task.init(key), on_device(task.test))
    end = kx.solve(field, y0, t0, t1, args=args, solver=RK4, batch_axis=0).y1
    np.testing.assert_allclose(end, task.test.z[:, 1], atol=1e-4)
    driven = Dynamics("linear", linear(rng, driven=True), known=known, horizon=5, width=4)
    with pytest.raises(UserError, match="every start has its own"):
        driven.trajectories(driven.init(key), driven.test)


@pytest.mark.slow
def test_samples_with_args_of_their_own(rng):
    """args_axes of solve, under joint and per-sample control and fixed steps: y' = a y, an a for every sample."""
    a, y0 = jnp.asarray(rng.uniform(-2, 1, 5)), jnp.asarray(rng.standard_normal((5, 1)))
    solvers = [kx.Adaptive(kx.tableaus.DOPRI5, 1e-9, 1e-9, control=c) for c in ("joint", "per_sample")]
    for solver in (*solvers, kx.FixedSteps(kx.tableaus.RK4, 200)):

        def end(a, solver=solver):
            solved = kx.solve(lambda t, y, a: a * y, y0, 0.0, 1.0, solver=solver, args=a, args_axes=0, batch_axis=0)
            return solved.y1[:, 0]

        expected = np.exp(a) * y0[:, 0]
        np.testing.assert_allclose(end(a), expected, rtol=1e-7)
        np.testing.assert_allclose(jax.grad(lambda a: jnp.sum(end(a)))(a), expected, rtol=1e-6)
    with pytest.raises(UserError, match="give batch_axis too"):
        kx.solve(lambda t, y, a: a * y, y0, 0.0, 1.0, solver=RK4, args=a, args_axes=0)


def test_bilinear_fields_contain_lorenz63(rng, key):
    field = BilinearField(3, 2, key=key, dtype=jnp.float64)
    zero = jax.tree.map(jnp.zeros_like, field)
    row = lambda *pairs: jnp.zeros((2, 3)).at[tuple(zip(*pairs, strict=True))].set(1.0)
    field = eqx.tree_at(
        lambda f: (f.linear.weight, f.left.weight, f.right.weight, f.products.weight),
        zero,
        (
            jnp.array([[-10, 10, 0], [28, -1, 0], [0, 0, -8 / 3]]),
            row((0, 0), (1, 0)),
            row((0, 2), (1, 1)),
            jnp.array([[0.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]),
        ),
    )
    x, y, z = state = rng.standard_normal(3)
    expected = [10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z]
    np.testing.assert_allclose(field(0.0, jnp.asarray(state)), expected, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"segments": 2, "curriculum": (1,)}, {"network": "bilinear", "width": 2}])
def test_gradient_of_the_loss_is_its_finite_difference(rng, key, options):
    task = Dynamics("linear", linear(rng, irregular=True, driven=True), horizon=3, **{"width": 3, **options})
    cast = lambda x: jnp.asarray(x, jnp.float64) if np.issubdtype(x.dtype, np.floating) else jnp.asarray(x)
    arrays, rest = eqx.partition(task.init(key), eqx.is_inexact_array)
    arrays = jax.tree.map(lambda x: cast(x) + 0.1 * jnp.asarray(rng.standard_normal(x.shape)), arrays)
    batch = jax.tree.map(lambda x: cast(x[:4]), task.train)
    loss = lambda arrays: task.loss(eqx.combine(arrays, rest), RK4, batch, key, progress=0.5)[0]
    both = jax.jit(jax.value_and_grad(loss))
    direction = jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape)), arrays)
    moved = lambda by: both(jax.tree.map(lambda x, d: x + by * d, arrays, direction))[0]
    slope = jax.tree.map(lambda g, d: jnp.sum(g * d), both(arrays)[1], direction)
    expected = (moved(1e-5) - moved(-1e-5)) / 2e-5
    np.testing.assert_allclose(sum(jax.tree.leaves(slope)), expected, rtol=1e-5)


@pytest.mark.slow
def test_the_curriculum_grows_the_horizon(rng, key):
    """Against models of the single horizons, at the shares of training where each is due."""
    parts = linear(rng)
    task = Dynamics("linear", parts, horizon=4, curriculum=(1, 2), width=4)
    model, batch = task.init(key), on_device(task.train)
    for progress, horizon in ((0.0, 1), (0.3, 1), (0.34, 2), (0.66, 2), (0.67, 4), (1.0, 4)):
        path = task.predict(model, RK4, batch).outputs[:, :horizon]
        expected = np.mean((path - batch.z[:, 1 : horizon + 1]) ** 2)
        value, log = task.loss(model, RK4, batch, key, progress=jnp.asarray(progress))
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        np.testing.assert_allclose(log["metric"], np.sqrt(expected), rtol=1e-5)
        assert log["nfe"] == 8


def test_multiple_shooting_by_hand(rng, key):
    """A silent network stands still: every segment stays where it starts."""
    task = Dynamics("linear", linear(rng), known=lambda x, u: 0 * x, horizon=3, segments=2, continuity=7.0, width=4)
    model, batch = task.init(key), on_device(task.train)
    assert batch.z.shape == (8, 7, 2) and model.corrections.shape == (8, 2, 2)
    moved = rng.standard_normal(model.corrections.shape).astype(np.float32)
    model = eqx.tree_at(lambda m: m.corrections, model, jnp.asarray(moved))
    z = np.asarray(batch.z)
    starts = z[:, [0, 3]] + moved
    off = starts[:, :, None] - np.stack([z[:, 1:4], z[:, 4:7]], axis=1)
    expected = np.mean(off**2) + np.mean(moved**2) + 7 * np.mean((starts[:, 0] - starts[:, 1]) ** 2)
    value, log = task.loss(model, RK4, batch, key)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(log["metric"], np.sqrt(np.mean(off**2)), rtol=1e-5)


def test_the_metric_is_the_root_mean_square_over_everything_whatever_the_batches(rng, key):
    task = Dynamics("linear", linear(rng, rows=30, count=10), horizon=3, width=4)
    model = task.init(key)
    found = np.asarray(task.predict(model, RK4, on_device(task.test)).outputs, np.float64)
    expected = np.sqrt(np.mean((found - task.test.z[:, 1:]) ** 2))
    for size in (100, 4):  # of nine windows
        assert evaluate(task, model, RK4, task.test, size).metric == pytest.approx(expected, rel=1e-5)


# Forecasts


def test_valid_times_and_errors_of_errors_that_grow_as_they_are_made_to():
    times = np.arange(101)
    truth = np.random.default_rng(0).standard_normal((3, 101, 2))
    error = np.stack([0.01 * np.exp(rate * times) for rate in (0.08, 0.05, 0.001)])
    said = describe(truth, truth + error[..., None], truth.reshape(-1, 2), PLAIN._replace(interval=0.5), 0.9, SOURCE)
    np.testing.assert_allclose(said["rmse"], np.sqrt(np.mean(error[:, 1:] ** 2, axis=0)))
    np.testing.assert_allclose(said["lead"], 0.5 * times[1:])
    expected = [0.5 * np.floor(np.log(40) / 0.08), 0.5 * np.floor(np.log(40) / 0.05), 50.0]
    np.testing.assert_allclose(said["valid"]["times"], expected)
    assert said["valid"]["whole"] == 1 and said["valid"]["lyapunov"] == 0.9
    assert f"{0.9 * expected[1]:.3g} Lyapunov times ({expected[1]:g})" in "\n".join(drawing.describe(said))


def test_attractor_statistics_of_a_shift_and_a_stretch(rng):
    truth = rng.standard_normal((4, 500, 2))
    shifted = describe(truth, truth + np.array([0.3, 0.4]), truth.reshape(-1, 2), PLAIN, None, SOURCE)["attractor"]
    assert shifted["mean"] == pytest.approx(np.sqrt((0.3**2 + 0.4**2) / 2))
    assert shifted["std"] == pytest.approx(0, abs=1e-12) and shifted["distance"] == pytest.approx(0.35)
    assert shifted["chance"] < 0.01
    stretched = describe(truth, 2 * truth, truth.reshape(-1, 2), PLAIN, None, SOURCE)["attractor"]
    assert stretched["std"] == pytest.approx(1, rel=0.05)


def test_a_forecast_that_diverges_is_no_number(rng, tmp_path):
    truth = rng.standard_normal((2, 9, 2))
    found = truth.copy()
    found[1, 4:] = np.nan
    found[0, 6:, 1] = 1e5
    said = describe(truth, found, truth.reshape(-1, 2), PLAIN, None, SOURCE)
    assert said["rmse"] == [0.0] * 3 + [None] * 5
    assert said["diverged"] == 2 and said["first_divergence"] == 4 and said["attractor"] is None
    assert said["valid"]["times"] == [5, 3] and len(said["example"]["found"]) == 6
    json.dumps(said, allow_nan=False)
    lines = drawing.describe(said)
    assert "diverged after 8" in lines[0] and lines[1] == "2 of 2 forecasts diverge, the first after 4"
    lines = drawing.describe(
        describe(truth, found, truth.reshape(-1, 2), PLAIN, None, Source("time (min)", ("a", "b")))
    )
    assert lines[0].endswith("diverged after 8 min") and lines[1].endswith("the first after 4 min")
    assert lines[2].startswith(f"accurate (within {VALID} sd) for 4 min (median)") and drawing.WITHIN == VALID
    for file in drawing.plot({"mine": said}, ["learned"], tmp_path / "forecast"):
        assert file.stat().st_size > 0


def test_a_field_that_blows_up_is_told_as_such(rng, key):
    """x' = x^3 from |x| > 1 reaches infinity: no error a number, the metric an error."""
    task = Dynamics("cubic", linear(rng), known=lambda x, u: 30 * x**3, horizon=5, width=4)
    model = task.init(key)
    for solver in (RK4, FINE):
        said = task.forecast(model, solver)
        assert said["diverged"] == said["forecasts"] == 1 and said["rmse"][-1] is None
        with pytest.raises(SolveError, match=r"^prediction with .*: the "):
            evaluate(task, model, solver, task.test, 8)


def test_one_forecast_that_diverges_leaves_the_others_alone(rng, key):
    """x' = x^2 (data on both sides of zero): from below zero it is attracted, from above it escapes."""
    t = np.arange(8) * 0.1
    made = [Trajectory(t, np.full((8, 1), x), np.zeros((8, 0))) for x in (-1.0, 2.0, -2.0, 1.0, -1.0, 8.0, -3.0)]
    task = Dynamics(
        "square", TrajectorySplits(made[:4], made[4:5], made[5:]), known=lambda x, u: x**2, horizon=2, width=4
    )
    said = task.forecast(task.init(key), FINE)
    assert said["forecasts"] == 2 and said["diverged"] == 1
    first = said["first_divergence"]
    assert first == pytest.approx(0.2, abs=1e-6)  # x = 8 / (1 - 8 t) ends at t = 0.125


# Training and the command line


@pytest.mark.slow
def test_training_finds_the_field(rng, key):
    """A bilinear field of a linear system; its slopes against the matrix, in the data's units."""
    task = Dynamics("linear", linear(rng, count=12), network="bilinear", width=1, horizon=3, curriculum=(1,))
    settings = Settings(train_steps=400, batch_size=32, lr=3e-2, evaluations=4)
    trained = Trainer(task, kx.LearnedRK.from_tableau(kx.tableaus.HEUN3, 1, order=2), settings).run(0)
    field: Identified = trained.model.field
    scaling = task.scaling
    x = np.asarray(scaling.mean) + np.asarray(scaling.std) * rng.uniform(-1, 1, (20, 2))
    z = jnp.asarray(scaling.standardised(x), jnp.float32)
    slopes = jax.vmap(lambda z: field.in_intervals(z, jnp.zeros(0, jnp.float32)))(z)
    found = np.asarray(slopes) * scaling.std / scaling.interval
    np.testing.assert_allclose(found, x @ A.T, atol=0.1 * np.abs(x @ A.T).max())
    assert trained.validation.metric < 0.02 and trained.validation.nfe == 3


@pytest.mark.slow
def test_a_validation_that_fails_on_the_way_does_not_end_training(key):
    class Late(Dynamics):
        """Its validation cannot be solved while the field grows fast."""

        def predict(self, model, solver, batch):
            found = super().predict(model, solver, batch)
            grows = model.field.network.layers[-1].bias[0] < 0.02
            return found._replace(status=jnp.where(grows, 3, found.status))

    t = np.arange(8) * 0.1
    made = [Trajectory(t, (start + t)[:, None], np.zeros((8, 0))) for start in range(6)]  # x' = 1
    task = Late("late", TrajectorySplits(made[:4], made[4:5], made[5:]), known=lambda x, u: 0 * x, horizon=2, width=4)
    seen = []
    settings = Settings(train_steps=20, batch_size=4, evaluations=20, lr=5e-3, lr_decay=1.0)
    trained = Trainer(task, RK4, settings).run(0, seen.append)
    assert np.isnan(seen[0].validation.metric) and np.isfinite(trained.validation.metric)
    with pytest.raises(SolveError):
        Trainer(task, RK4, Settings(train_steps=2, batch_size=4)).run(0)


def test_every_option_reaches_the_task():
    where = {"system": "pendulum", "trajectories": 5, "samples": 12, "dt": 0.2, "data_seed": 1, "split_seed": 1}
    asked = {"width": 3, "depth": 1, "horizon": 2, "segments": 2, "continuity": 0.5, "max_steps": 9}
    others = {"forecast_length": 4, "lyapunov": 0.3, "curriculum": [1], "held_out": 0.3, "field": "physics"}
    noise = {"noise": 0.1, "irregular": 0.5}
    task = build("dynamics", **where, **asked, **others, **noise)
    assert {option: getattr(task, option) for option in asked} == asked
    assert (task.forecast_length, task.lyapunov, task.curriculum) == (4, 0.3, (1,)) and task.known is not None
    assert [len(part) for part in task.parts] == [1, 2, 2] and len(task.parts.test[0].t) == 12 and not task.plain
    assert task.scaling.interval == pytest.approx(0.2, rel=0.05)
    hidden = {"hidden": 2, "memory": 3}
    unseen = build("dynamics", system="pendulum", trajectories=5, samples=12, width=3, depth=1, horizon=2, **hidden)
    assert {option: getattr(unseen, option) for option in hidden} == hidden
    given = {
        *where,
        *asked,
        *others,
        *noise,
        *hidden,
        "file",
        "input",
        "time",
        "state",
        "control_input",
        "trajectory",
        "delimiter",
    }
    assert {option.name for option in dataclasses.fields(TASKS["dynamics"])} == given
    clean = build("dynamics", **where, **asked, held_out=0.3)
    assert task.parts.test[0].x.shape == clean.parts.test[0].x.shape and clean.known is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory": 3}, "--memory changes nothing without hidden states"),
        ({"horizon": 0}, "horizon must be >= 1, got 0"),
        ({"segments": 0}, "segments must be >= 1, got 0"),
        ({"continuity": -1.0}, "continuity must be >= 0, got -1.0"),
        ({"curriculum": (3, 2)}, "curriculum must be horizons that grow .* below horizon 10, got 3 2"),
        ({"curriculum": (10,)}, "below horizon 10, got 10"),
        ({"noise": -0.1}, "noise must be >= 0, got -0.1"),
        ({"lyapunov": 0.0}, "lyapunov must be > 0, got 0.0"),
        ({"file": "data.csv", "noise": 0.1}, "--noise changes nothing with --file: it is for generated data"),
        ({"file": "data.csv", "system": "pendulum"}, "--system changes nothing with --file"),
        ({"file": "data.csv", "field": "physics"}, "--field physics knows the equations of --system alone"),
        ({"file": "nowhere.csv"}, "no file at nowhere.csv"),
        ({"system": "pendulum", "horizon": 500}, "a train window of 500 intervals needs 501 rows"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(UserError, match=message):
        build("dynamics", **options)


def run(*arguments) -> int:
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments)])
    return stop.value.code


SMALL = ("--train-steps", 4, "--batch-size", 8, "--width", 4, "--horizon", 3)


@pytest.mark.slow
def test_train_and_evaluate(tmp_path, capsys):
    out = tmp_path / "run"
    data = ("--system", "pendulum", "--trajectories", 12, "--samples", 81, "--noise", 0.05, "--segments", 2)
    assert run("train", "dynamics", *data, *SMALL, "--curriculum", 1, "--steps", 1, "--out", out) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "forecasts: rmse" in said and "to the end" in said and "test" in said
    saved = json.loads((out / "forecast.json").read_text())
    record = json.loads((out / "record.json").read_text())
    assert record["metric"]["name"] == "rmse" and record["nfe"] == 4 and "example" not in record["forecast"]
    assert record["certificate"]["verdict"] in ("valid", "invalid", "undecided")
    assert record["forecast"]["rmse"] == saved["rmse"] and (out / "forecast.svg").exists()
    assert run("evaluate", out, "--solver", "rk4", "--steps", 3) == 0
    assert "NFE 12" in capsys.readouterr().out


@pytest.mark.slow
def test_compare_draws_forecasts_of_ones_own_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    t = 0.1 * np.arange(80)
    path, out = tmp_path / "data.npz", tmp_path / "out"
    phase = np.arange(8)[:, None]
    np.savez(path, t=t, x=np.stack([np.sin(t + phase), np.cos(t + phase)], axis=2), u=np.ones((8, 80, 1)))
    options = ("--file", path.name, *SMALL, "--nfe", 2, "--methods", "midpoint", "--seeds", 1, "--out", out)
    assert run("compare", "dynamics", *options) == 0
    assert (out / "forecasts.svg").exists() and "Long forecasts" in (out / "index.html").read_text()
    assert run("compare", "dynamics", *options, "--resume") == 0
    assert "recorded" in capsys.readouterr().out
    monkeypatch.chdir("/")
    (directory,) = (out / "runs").iterdir()
    assert load_run(directory)[0].name == "dynamics", "the file is found from elsewhere"
    monkeypatch.chdir(tmp_path)
    np.savez(path, t=t, x=np.stack([np.sin(t + phase), np.cos(2 * t + phase)], axis=2), u=np.ones((8, 80, 1)))
    with pytest.raises(UserError, match=r"data\.npz has changed since .* was trained on it"):
        load_run(directory)
    capsys.readouterr()
    assert run("compare", "dynamics", *options, "--resume") == 2
    assert "is of other options" in (said := capsys.readouterr().err) and "sha256 of --file was" in said


def test_a_bad_file_is_one_line(tmp_path, capsys):
    path = tmp_path / "data.csv"
    path.write_text("t,x1\n0,1\n0,2\n")
    assert run("train", "dynamics", "--file", path, "--out", tmp_path / "run") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "0 is there twice" in said

"""Injected faults: NaN in samples and gradients, an exploding and a stiff field, under each policy.

What must be left is trained by hand: Adam in NumPy, on gradients in closed form, over the batches that a policy leaves.
"""

import io
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console
from slowness import mostly_slow, slow

import kuttax as kx
from kuttax.data import BatchStream, Dataset, Splits
from kuttax.data.systems.trajectory import Trajectory
from kuttax.data.systems.windows import TrajectorySplits
from kuttax.data.tables.points import Points, PointSplits
from kuttax.errors import UserError
from kuttax.io import records
from kuttax.tasks import Classification, Density, Dynamics, Likelihood, Metric, Prediction, mean_nfe
from kuttax.tasks.reached import mean_over_reached, zero_where_lost
from kuttax.training import log
from kuttax.training.failure import Failures, TrainingError, UnsolvedError
from kuttax.training.log import Log
from kuttax.training.loop import Progress, Trainer
from kuttax.training.settings import Settings

SAMPLES, BATCH, STEPS, LR = 40, 8, 60, 0.02
BAD = 17
START = 0.5
EULER = kx.FixedSteps(kx.tableaus.EULER, 1)
JOINT, EACH = (kx.Adaptive(kx.tableaus.DOPRI5, 1e-8, 1e-8, control=c) for c in ("joint", "per_sample"))


def how(**changes):
    defaults = {"train_steps": STEPS, "batch_size": BATCH, "lr": LR, "lr_decay": 0.1, "evaluations": 1}
    return Settings(**{**defaults, "per_dispatch": 7, "most_failures": 1.0, **changes})


def batches():
    """The rows of every step."""
    return BatchStream(SAMPLES, BATCH, 0).take(0, STEPS)


def adam(w, steps, gradient, *, state=(0.0, 0.0, 0), scale=1.0):
    """Kingma & Ba (2015), algorithm 1, on a cosine from LR to a tenth; returns weight and state."""
    m, v, count = state
    for rows in steps:
        g = gradient(w, rows)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        rate = LR * (0.9 * 0.5 * (1 + np.cos(np.pi * count / STEPS)) + 0.1)
        count += 1
        w = w - scale * rate * (m / (1 - 0.9**count)) / (np.sqrt(v / (1 - 0.999**count)) + 1e-8)
    return w, (m, v, count)


class Line:
    """Find w in y = w x by least squares. A sample whose x is NaN makes the loss NaN, one with x > 9 its gradient."""

    name = "line"
    interval = (0.0, 1.0)
    metric = Metric("rmse", higher_is_better=False, unit="")

    def __init__(self, bad=1.0):
        x = np.random.default_rng(0).uniform(0.2, 0.8, SAMPLES)
        x[BAD] = bad
        self.train = Dataset(x, 0.3 * x)
        self.validation = Dataset(x[:BAD], 0.3 * x[:BAD])

    def init(self, key):
        return jnp.asarray(START)

    def loss(self, model, solver, batch, key):
        spoilt = jnp.any(batch.x > 9)  # the derivative of a root at zero
        root = jnp.sqrt(jnp.where(spoilt, 0 * model, 1.0)) - jnp.where(spoilt, 0.0, 1.0)
        loss = jnp.mean((model * batch.x - batch.y) ** 2) + root
        return loss, {"nfe": jnp.asarray(1.0), "metric": jnp.sqrt(loss), "status": jnp.asarray(0)}

    def predict(self, model, solver, batch):
        loss = jnp.mean((model * batch.x - batch.y) ** 2)
        return Prediction(jnp.asarray(batch.x), jnp.sqrt(loss), loss=loss)

    def gradient(self, w, rows):
        x, y = self.train.x[rows], self.train.y[rows]
        return np.mean(2 * (w * x - y) * x)


class Flow(Line):
    """The same from dy/dt, with a coefficient k of each sample that one solver cannot take: x holds (y0, k).

    exploding: dy/dt = w k y^2, y(1) = y0 / (1 - w k y0). stiff: dy/dt = -w k y, y(1) = y0 exp(-w k).
    """

    def __init__(self, kind):
        self.kind = kind
        y0, k = np.random.default_rng(0).uniform(0.2, 0.8, SAMPLES), np.ones(SAMPLES)
        target = self.end(0.3, y0, k)
        k[BAD] = 50.0 if kind == "exploding" else 1e7
        self.train = Dataset(np.stack([y0, k], axis=1), target)
        self.validation = Dataset(self.train.x[:BAD], target[:BAD])

    def end(self, w, y0, k):
        return y0 / (1 - w * k * y0) if self.kind == "exploding" else y0 * np.exp(-w * k)

    def loss(self, model, solver, batch, key):
        sol = self.solve(model, solver, batch)
        losses = (zero_where_lost(sol.y1, sol.status) - batch.y) ** 2
        loss = mean_over_reached(losses, sol.status)
        return loss, {"nfe": mean_nfe(sol.stats), "metric": jnp.sqrt(loss), "status": sol.status}

    def predict(self, model, solver, batch):
        sol = self.solve(model, solver, batch)
        loss = jnp.mean((sol.y1 - batch.y) ** 2)
        return Prediction(sol.y1, jnp.sqrt(loss), loss=loss, stats=sol.stats, status=jnp.max(sol.status))

    def solve(self, w, solver, batch):
        field = (lambda t, y, k: w * k * y**2) if self.kind == "exploding" else (lambda t, y, k: -w * k * y)
        y0, k = jnp.asarray(batch.x).T
        options = {"args": k, "args_axes": 0, "batch_axis": 0, "throw": False}
        options["max_steps"] = 1000 if self.kind == "exploding" else 64
        return kx.solve(field, y0, 0.0, 1.0, solver=solver, **options)

    def gradient(self, w, rows):
        (y0, k), y = self.train.x[rows].T, self.train.y[rows]
        end = self.end(w, y0, k)
        slope = k * end**2 if self.kind == "exploding" else -k * end
        return np.mean(2 * (end - y) * slope)


FAULTS = {
    "nan": (lambda: Line(np.nan), EULER, "loss became nan"),
    "overflow": (lambda: Line(1e200), EULER, "loss became inf"),
    "gradient": (lambda: Line(10.0), EULER, "its gradient overflowed or is NaN"),
    "exploding": (lambda: Flow("exploding"), JOINT, "blows up|NaN or infinite"),
    "stiff": (lambda: Flow("stiff"), JOINT, "used up max_steps.*stiffness"),
}


def with_bad():
    return np.flatnonzero((batches() == BAD).any(axis=1))


# The policies


@pytest.mark.parametrize("fault", FAULTS)
def test_raise_names_step_samples_and_cause(fault):
    task, solver, cause = FAULTS[fault]
    with pytest.raises(TrainingError, match=cause) as caught:
        Trainer(task(), solver, how()).run(0)
    first = with_bad()[0]
    assert caught.value.step == first + 1
    assert f"training step {first + 1} " in str(caught.value) and "\n" not in str(caught.value)
    if fault == "nan":
        assert caught.value.samples.tolist() == [BAD] and f"sample {BAD} hold NaN" in str(caught.value)
    else:
        assert caught.value.samples.tolist() == batches()[first].tolist()
        assert f"batch of {BATCH} samples" in str(caught.value)
    assert isinstance(caught.value, kx.SolveError) == (fault in ("exploding", "stiff"))


@pytest.mark.parametrize("fault", mostly_slow(FAULTS, "nan", "overflow"))
def test_skip_is_training_without_those_batches(fault):
    task, solver, _ = FAULTS[fault]
    task, seen = task(), []
    trained = Trainer(task, solver, how(on_failure="skip")).run(0, seen.append)
    left = np.delete(batches(), with_bad(), axis=0)
    assert float(trained.model) == pytest.approx(adam(START, left, task.gradient)[0], rel=1e-7)
    assert trained.failures == Failures(steps=len(with_bad()))
    assert [now.failures.steps for now in seen] == [(with_bad() < now.step).sum() for now in seen]
    assert all(np.isfinite(now.loss) for now in seen), "means are of the steps that did not fail"


@pytest.mark.parametrize("fault", mostly_slow(FAULTS, "nan", "gradient"))
def test_rollback_goes_on_from_weights_that_have_survived(fault):
    """The batch is taken out of all steps but one, so that the run can be followed by hand."""
    task, solver, _ = FAULTS[fault]

    class Once(type(task())):
        loss_options = ("progress",)

        def loss(self, model, solver, batch, key, progress=1.0):
            other = jax.tree.map(lambda x: jnp.asarray(x)[:BATCH], self.train)
            now = jnp.abs(progress * STEPS - float(with_bad()[-2])) < 0.5
            harmless = jax.tree.map(lambda a, b: jnp.where(now, a, jnp.where(self._bad(batch, a), b, a)), batch, other)
            return super().loss(model, solver, harmless, key)

        def _bad(self, batch, leaf):
            bad = ~(batch.x < 9) if batch.x.ndim == 1 else batch.x[:, 1] > 9
            return bad.reshape(-1, *[1] * (leaf.ndim - 1))

    task = Once(*([task().kind] if hasattr(task(), "kind") else [task().train.x[BAD]]))
    failing = with_bad()[-2]
    kept = (failing // 20 - 1) * 20
    rows = np.where(batches() == BAD, np.arange(BATCH), batches())
    before = adam(START, rows[:kept], task.gradient)
    w, _ = adam(before[0], rows[failing + 1 :], task.gradient, state=before[1], scale=0.5)
    trained = Trainer(task, solver, how(on_failure="rollback")).run(0)
    assert kept >= 20 and len(rows) - failing > 3, "or nothing is tested"
    assert float(trained.model) == pytest.approx(w, rel=1e-7)
    assert trained.failures == Failures(steps=1, lr_scale=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["exploding", "stiff"])
def test_a_sample_with_steps_of_its_own_is_lost_alone(kind):
    task = Flow(kind)
    trained = Trainer(task, EACH, how(on_failure="skip")).run(0)
    left = [rows[rows != BAD] for rows in batches()]
    assert float(trained.model) == pytest.approx(adam(START, left, task.gradient)[0], rel=1e-6)
    assert trained.failures == Failures(samples=len(with_bad()))
    with pytest.raises(UnsolvedError) as caught:
        Trainer(task, EACH, how()).run(0)
    assert caught.value.samples.tolist() == [BAD] and f"sample {BAD}:" in str(caught.value)


def test_a_batch_of_which_most_is_lost_is_lost():
    task = Flow("stiff")
    task.train.x[:, 1] = np.where(np.arange(SAMPLES) % 5 < 3, 1e7, 1.0)
    task.validation = Dataset(task.train.x[3:5], task.train.y[3:5])
    bad = (batches() % 5 < 3).sum(axis=1)
    trained = Trainer(task, EACH, how(on_failure="skip")).run(0)
    assert trained.failures == Failures(int((bad > BATCH / 2).sum()), int(bad[bad <= BATCH / 2].sum()))
    left = [rows[rows % 5 >= 3] for rows, lost in zip(batches(), bad, strict=True) if lost <= BATCH / 2]
    assert float(trained.model) == pytest.approx(adam(START, left, task.gradient)[0], rel=1e-6)


def test_too_many_failures_end_training_under_every_policy():
    for policy in ("skip", "rollback"):
        with pytest.raises(TrainingError, match=r"failed steps .* given up; the last: the loss became nan") as caught:
            Trainer(Line(np.nan), EULER, how(on_failure=policy, most_failures=0.05, per_dispatch=1)).run(0)
        assert caught.value.step == with_bad()[3] + 1, "a twentieth of 60 steps is 3"


def test_rollbacks_end_before_the_learning_rate_is_nothing():
    task = Line(np.nan)
    task.train.x[:] = np.nan
    with pytest.raises(TrainingError, match="after 11 failed steps"):
        Trainer(task, EULER, how(on_failure="rollback", per_dispatch=1)).run(0)


def test_failures_are_logged_and_said_at_the_end(tmp_path):
    settings, path = how(on_failure="rollback", per_dispatch=1, train_steps=30), tmp_path / "metrics.jsonl"
    with Log(Console(), "line", 30, path) as log:
        trained = Trainer(Line(np.nan), EULER, settings).run(0, log)
    rows, times = records.read(path), int((with_bad() < 30).sum())
    first = with_bad()[0]
    assert "failures" not in rows[first - 1] and rows[first]["loss"] is None
    assert rows[first]["failures"] == {"steps": 1, "samples": 0, "lr_scale": 0.5}
    assert rows[-1]["failures"]["steps"] == times
    said = trained.failures.describe(settings)
    assert f"{times} optimiser steps rolled back, the learning rate ended at {0.5**times:.3g} of its schedule" in said
    assert Failures(0, 3).describe(how(on_failure="skip")) == (
        "failures: 0 optimiser steps skipped; 3 samples lost from other batches"
    )
    assert Failures().describe(settings) is None


def test_where_there_is_no_terminal_a_line_is_printed_now_and_then(monkeypatch):
    """The slowest two dispatches, which may have compiled, do not count for the time left: ten steps a second."""
    clock = iter([0.0, 4.0, 34.0, 35.0, 36.0, 37.0, 45.0])
    monkeypatch.setattr(log, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    said = io.StringIO()
    own = Log(Console(file=said, width=40), "RK4, 8 steps", 700, None)
    for step in (10, 20, 30, 40, 50, 60):
        own(Progress(step, 0.125, 1.0, 8.0, 1.0, None))
    # a line at 34 s, too early to tell the time left, and at 45 s, when steps have taken 3, 0.1, 0.1, 0.1 and 0.8 s
    assert said.getvalue().splitlines() == [
        "RK4, 8 steps: step 20 of 700, loss 0.125, NFE 8",
        "RK4, 8 steps: step 60 of 700, loss 0.125, NFE 8, about 0:01:04 left",
    ]


def test_settings_of_failures_are_checked():
    for option, value in (("rollback_lr", 0.0), ("most_failures", 1.5), ("rollback_lr", float("nan"))):
        with pytest.raises(UserError, match=rf"{option} must lie in \(0, 1\]"):
            how(**{option: value})
    with pytest.raises(UserError, match="on_failure must be one of raise, skip, rollback, got 'ignore'"):
        how(on_failure="ignore")


# The built-in tasks


def small_classification(rng):
    x, y = rng.standard_normal((12, 5)).astype("float32"), rng.integers(0, 3, 12)
    return Classification("small", Splits(*[Dataset(x, y)] * 3), width=4)


def small_density(rng):
    points = Points(rng.standard_normal((6, 2)).astype("float32"), np.zeros(6, np.float32))
    return Density("small", PointSplits(points, points, points), Likelihood(), field="mlp", width=4, depth=1)


def small_dynamics(rng, irregular=False):
    t = np.cumsum(rng.uniform(0.1, 0.3, 8)) if irregular else np.arange(8.0)
    part = [Trajectory(t, rng.standard_normal((8, 2)), np.zeros((8, 0)))]
    return Dynamics("small", TrajectorySplits(part, part, part), horizon=2, width=2)


@pytest.mark.parametrize(
    ("make", "spoilt"),
    [
        slow(small_classification, np.nan),
        slow(small_classification, np.inf),
        slow(small_density, np.nan),
        slow(small_dynamics, np.nan),
        (lambda rng: small_dynamics(rng, irregular=True), np.nan),
    ],
    ids=["classification", "infinite", "density", "dynamics", "irregular"],
)
def test_one_sample_is_lost_and_no_more(make, spoilt, rng, key):
    """Loss, metric and gradient are those of the batch without it."""
    task, row = make(rng), 2
    model, batch = task.init(key), jax.tree.map(jnp.asarray, task.train)
    states = "z" if isinstance(task, Dynamics) else "x"
    whole = batch._replace(**{states: getattr(batch, states).at[row].set(spoilt)})
    rest = jax.tree.map(lambda x: jnp.delete(x, row, axis=0), batch)
    varied, fixed = eqx.partition(model, eqx.is_inexact_array)

    @jax.jit
    def gradient_of(varied, batch):
        loss = lambda varied: task.loss(eqx.combine(varied, fixed), EACH_32, batch, key)
        return jax.value_and_grad(loss, has_aux=True)(varied)

    ((value, log), gradient), ((expected, rest_log), rest_gradient) = (gradient_of(varied, x) for x in (whole, rest))
    assert np.flatnonzero(log["status"]).tolist() == [row] and not rest_log["status"].any()
    np.testing.assert_allclose([value, log["metric"]], [expected, rest_log["metric"]], rtol=1e-5)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(rest_gradient), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    if isinstance(task, Classification):
        assert np.isnan(task.predict(model, EACH_32, whole).outputs[row]).all(), "no number looks right that is not"


EACH_32 = kx.Adaptive(kx.tableaus.BOSH3, 1e-3, 1e-3, control="per_sample")

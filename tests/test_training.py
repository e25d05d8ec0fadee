"""Training against loops written by hand: a linear flow, whose midpoint step has a closed form, and a counter."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import kuttax as kx
from kuttax.data import Dataset
from kuttax.errors import UserError
from kuttax.solvers.base.solution import SolveError, Stats, Status
from kuttax.tasks import Metric, Prediction, mean_nfe
from kuttax.training.evaluate import evaluate, prediction_ms
from kuttax.training.loop import Trainer, TrainingError
from kuttax.training.part import Part
from kuttax.training.settings import Settings

SAMPLES = 24
MIDPOINT = kx.FixedSteps(kx.tableaus.MIDPOINT, 1)
TARGET = np.array([[0.2, 1.0], [-1.0, 0.1]], np.float32)


def pairs(seed, matrix):
    """States and where the midpoint rule's single step of dy/dt = matrix y takes them."""
    start = np.random.default_rng(seed).standard_normal((SAMPLES, 2)).astype(np.float32)
    return Dataset(start, midpoint(start, matrix))


def midpoint(y, w):
    """One step over [0, 1] of the midpoint rule for dy/dt = w y, row by row."""
    return y + (y + y @ w.T / 2) @ w.T


class Flow:
    """Find the matrix of dy/dt = W y; the metric is the mean absolute error, better low."""

    name = "flow"
    interval = (0.0, 1.0)
    metric = Metric("mae", higher_is_better=False, unit="")

    def __init__(self, start=None, validation=TARGET, max_steps=64):
        self.start, self.max_steps = start, max_steps
        self.train, self.validation = pairs(0, TARGET), pairs(1, validation)
        self.loss_traces = self.predict_traces = 0

    @property
    def test(self):
        raise AssertionError("the test data are none of training's business")

    def init(self, key):
        if self.start is not None:
            return {"w": jnp.asarray(self.start)}
        return {"w": 0.1 * jax.random.normal(key, (2, 2), jnp.float32)}

    def loss(self, model, solver, batch, key):
        self.loss_traces += 1
        prediction = self._solved(model, solver, batch)
        log = {"nfe": mean_nfe(prediction.stats), "metric": prediction.metric, "status": prediction.status}
        return prediction.loss, log

    def predict(self, model, solver, batch):
        self.predict_traces += 1
        return self._solved(model, solver, batch)

    def _solved(self, model, solver, batch):
        sol = kx.solve(
            lambda t, y, args: model["w"] @ y,
            jnp.asarray(batch.x),
            *self.interval,
            solver=solver,
            batch_axis=0,
            max_steps=self.max_steps,
            throw=False,
        )
        miss = sol.y1 - batch.y
        return Prediction(
            sol.y1, jnp.abs(miss).mean(), stats=sol.stats, loss=(miss**2).mean(), status=jnp.max(sol.status)
        )


class Counter:
    """One weight that rises by the learning rate a step: its loss is -w, so that Adam's step is lr exactly.

    At w > 1 the loss is NaN; the metric is NaN below w = 0.5.
    """

    name = "counter"
    interval = (0.0, 1.0)
    metric = Metric("distance", higher_is_better=False, unit="")
    train = validation = np.zeros((4, 1), np.float32)

    def init(self, key):
        return jnp.zeros((), jnp.float32)

    def loss(self, model, solver, batch, key):
        log = {"nfe": jnp.nan, "metric": model, "status": jnp.asarray(0)}
        return -model + 0 * jnp.sqrt(1 - model), log

    def predict(self, model, solver, batch):
        return Prediction(jnp.asarray(batch), jnp.sqrt(model - 0.5), loss=-model)


def bosh3():
    return kx.Adaptive(kx.tableaus.BOSH3, 1e-3, 1e-3)


def settings(**changes):
    return Settings(**{"train_steps": 4, "evaluations": 1, "per_dispatch": 2, "lr": 0.01, **changes})


def learned(**changes):
    options = {"steps": 2, "order": 1, "per_step": True, "learn_steps": True, "dtype": np.float32}
    return kx.LearnedRK.from_tableau(kx.tableaus.MIDPOINT, **{**options, **changes})


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree) if eqx.is_array_like(leaf)]


def assert_same_bits(one, two):
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for a, b in zip(leaves(one), leaves(two), strict=True):
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes()


# The optimiser steps


def test_steps_are_those_of_a_plain_optax_loop():
    start = np.array([[0.1, -0.2], [0.3, 0.05]], np.float32)
    steps, lr, decay = 5, 0.02, 0.1
    x, y = pairs(0, TARGET)

    def loss(w):
        return jnp.mean((midpoint(x, w) - y) ** 2)

    optimiser = optax.adam(optax.cosine_decay_schedule(lr, steps, decay))
    w = jnp.asarray(start)
    state = optimiser.init(w)
    for _ in range(steps):
        with jax.numpy_dtype_promotion("standard"):  # optax cannot do without
            updates, state = optimiser.update(jax.grad(loss)(w), state, w)
        w = optax.apply_updates(w, updates)

    # All samples in every batch, so that the order of the data cannot matter.
    how = settings(train_steps=steps, lr=lr, lr_decay=decay, per_dispatch=3, batch_size=SAMPLES)
    trained = Trainer(Flow(start), MIDPOINT, how).run(0)
    np.testing.assert_allclose(trained.model["w"], w, rtol=1e-5, atol=1e-6)


def test_every_sample_is_seen_once_an_epoch():
    seen = []

    class Spy(Flow):
        def loss(self, model, solver, batch, key):
            jax.debug.callback(lambda x: seen.append(np.asarray(x)), batch.x)
            return super().loss(model, solver, batch, key)

    Trainer(Spy(), MIDPOINT, settings(train_steps=3, per_dispatch=3, batch_size=SAMPLES // 3)).run(0)
    jax.effects_barrier()
    rows = np.concatenate(seen)
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], pairs(0, TARGET).x[np.lexsort(pairs(0, TARGET).x.T)])


def test_same_seed_same_bits_and_one_program_for_all_seeds():
    task = Flow()
    trainer = Trainer(task, learned(), settings(batch_size=8))
    first = trainer.run(0)
    before = (task.loss_traces, task.predict_traces, trainer.compile_seconds)
    assert before[0] == 1
    again, other = trainer.run(0), trainer.run(1)
    assert (task.loss_traces, task.predict_traces, trainer.compile_seconds) == before
    fresh = Trainer(Flow(), learned(), settings(batch_size=8)).run(0)
    assert_same_bits((first.model, first.solver), (again.model, again.solver))
    assert_same_bits((first.model, first.solver), (fresh.model, fresh.solver))
    assert not np.array_equal(first.model["w"], other.model["w"])
    assert first.solver.trained_for == Flow.interval


def test_steps_a_dispatch_do_not_change_the_result():
    one, many = (
        Trainer(Flow(), learned(), settings(train_steps=20, per_dispatch=count, batch_size=8)).run(3)
        for count in (1, 20)
    )
    for a, b in zip(leaves((one.model, one.solver)), leaves((many.model, many.solver)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_loss_key_is_another_at_every_step_and_seed():
    class Noisy(Flow):
        def loss(self, model, solver, batch, key):
            value, log = super().loss(model, solver, batch, key)
            return value, {**log, "metric": jax.random.uniform(key, (), jnp.float32)}

    drawn = []
    trainer = Trainer(Noisy(), MIDPOINT, settings(per_dispatch=1, batch_size=8))
    for seed in (0, 1):
        trainer.run(seed, lambda now: drawn.append(now.metric))
    assert len(set(drawn)) == len(drawn) == 8


# Groups


def test_each_group_moves_at_its_own_learning_rate():
    start = learned()
    trained = Trainer(
        Flow(), start, settings(train_steps=1, per_dispatch=1, lr=1e-2, solver_lr=1e-4, batch_size=SAMPLES)
    ).run(0)
    w0 = Flow().init(jax.random.split(jax.random.key(0))[0])["w"]
    moves = np.abs(np.asarray(trained.model["w"]) - np.asarray(w0))
    np.testing.assert_allclose(moves, 1e-2, rtol=0.01)  # Adam's first step is the learning rate, whatever the gradient
    moves = np.concatenate([np.abs(a - b).ravel() for a, b in zip(leaves(start), leaves(trained.solver), strict=True)])
    assert moves.max() == pytest.approx(1e-4, rel=0.01)
    assert np.count_nonzero(moves > 0.5e-4) > 2


def test_solver_lr_zero_keeps_every_bit_of_the_solver_while_the_field_moves():
    start = learned(trained_for=(0.0, 1.0))
    trained = Trainer(Flow(TARGET / 2), start, settings(solver_lr=0.0, batch_size=8)).run(0)
    assert_same_bits(trained.solver, start)
    assert np.abs(np.asarray(trained.model["w"]) - TARGET / 2).min() > 1e-3


@pytest.mark.slow
def test_classical_solvers_never_move_and_all_start_from_the_same_weights():
    still = settings(train_steps=1, lr=1e-30, solver_lr=0.1, batch_size=8)  # too little to change a float32 weight
    solvers = (MIDPOINT, bosh3(), learned(dtype=np.float64))
    trained = [Trainer(Flow(), solver, still).run(5) for solver in solvers]
    for run in trained:
        assert_same_bits(run.model, trained[0].model)
    for run, solver in zip(trained[:2], solvers[:2], strict=True):
        assert_same_bits(run.solver, solver)
    moved = leaves(trained[2].solver)
    assert {leaf.dtype for leaf in moved} == {np.dtype(np.float64)}
    assert max(np.abs(a - b).max() for a, b in zip(moved, leaves(solvers[2]), strict=True)) > 0.09


# A training of several parts


@pytest.mark.parametrize("taken", [1, 7, 20])
@pytest.mark.parametrize("solver", [MIDPOINT, kx.LearnedRK.from_tableau(kx.tableaus.MIDPOINT, steps=1, order=1)])
def test_a_training_in_two_parts_is_the_whole(taken, solver):
    """The order of the data and the moments go on, whatever was the best model on the way; the learning rate is
    constant here, and the solver's parameters stay as they are."""
    how = lambda steps: settings(train_steps=steps, lr=0.1, lr_decay=1.0, solver_lr=0.0, batch_size=10)
    whole = Trainer(Flow(), MIDPOINT, how(21)).run(3)
    first = Trainer(Flow(), MIDPOINT, how(taken), part=Part(0, 21)).run(3)
    second = Trainer(Flow(), solver, how(21 - taken), part=Part(taken, 21)).run(3, after=first.ended)
    found, sought = (np.asarray(one.ended.model["w"]) for one in (second, whole))
    np.testing.assert_allclose(found, sought, rtol=1e-5)


# Choice on validation


@pytest.mark.parametrize("higher_is_better", [False, True])
def test_returned_model_is_the_best_on_validation_not_the_last(higher_is_better):
    class Towards(Flow):  # validation wants W = 0, training leads away from it
        metric = Metric("score", higher_is_better, "")

        def _solved(self, model, solver, batch):
            prediction = super()._solved(model, solver, batch)
            return prediction._replace(metric=-prediction.metric) if higher_is_better else prediction

    seen = []
    task = Towards(np.zeros((2, 2), np.float32), validation=np.zeros((2, 2), np.float32))
    how = settings(train_steps=6, evaluations=3, lr=0.1, lr_decay=1.0, batch_size=SAMPLES)
    trained = Trainer(task, MIDPOINT, how).run(0, seen.append)
    assert [now.step for now in seen if now.validation is not None] == [2, 4, 6]
    assert trained.best_step == 2
    x, y = task.validation
    error = np.abs(midpoint(x, np.asarray(trained.model["w"])) - y).mean()
    assert trained.validation.metric == pytest.approx(-error if higher_is_better else error, rel=1e-5)
    assert abs(seen[-1].validation.metric) > 1.5 * error


def test_where_training_helps_the_last_model_is_the_best():
    trained = Trainer(
        Flow(np.zeros((2, 2), np.float32)), MIDPOINT, settings(train_steps=9, evaluations=3, batch_size=8)
    ).run(0)
    assert trained.best_step == 9


def test_validation_that_is_nan_is_never_the_best():
    seen = []
    how = settings(train_steps=2, evaluations=2, lr=0.4, lr_decay=1.0, batch_size=4)  # w = 0.4: NaN; w = 0.8: a number
    trained = Trainer(Counter(), MIDPOINT, how).run(0, seen.append)
    assert np.isnan(seen[0].validation.metric) and trained.best_step == 2


def test_progress_reports_every_dispatch():
    seen = []
    Trainer(Flow(), MIDPOINT, settings(train_steps=7, evaluations=2, per_dispatch=3, batch_size=8)).run(0, seen.append)
    assert [now.step for now in seen] == [3, 4, 7]
    assert [now.validation is None for now in seen] == [True, False, False]
    assert all(now.nfe == 2 and np.isfinite(now.loss) for now in seen)
    assert 0 < seen[0].seconds < seen[1].seconds < seen[2].seconds


# What goes wrong


@pytest.mark.parametrize("count", [1, 3, 20])
def test_lost_loss_names_the_step(count):
    how = settings(train_steps=20, per_dispatch=count, lr=0.4, lr_decay=1.0, batch_size=4)  # w = 0, 0.4, 0.8, 1.2
    with pytest.raises(TrainingError, match=r"loss became nan at training step 4 .*lower --lr"):
        Trainer(Counter(), MIDPOINT, how).run(0)


def test_failed_solve_names_the_step_and_the_cause():
    solver = kx.Adaptive(kx.tableaus.DOPRI5, 1e-5, 1e-5)
    with pytest.raises(
        SolveError, match=r"training step 1 with Adaptive.*used up max_steps.*raise max_steps"
    ) as caught:
        Trainer(Flow(max_steps=1), solver, settings(batch_size=8)).run(0)
    assert caught.value.status == Status.max_steps


@pytest.mark.parametrize("size", [0, -3, SAMPLES + 1])
def test_batch_size_is_checked_before_anything_runs(size):
    task = Flow()
    with pytest.raises(UserError, match=f"batch_size.*{size}"):
        Trainer(task, MIDPOINT, settings(batch_size=size))
    assert task.loss_traces == 0


@pytest.mark.parametrize(
    "option",
    [
        {"train_steps": 0},
        {"evaluations": 0},
        {"per_dispatch": -1},
        {"batch_size": 0},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"solver_lr": -1e-3},
        {"lr_decay": 0.0},
        {"lr_decay": 1.5},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused_by_name(option):
    ((name, value),) = option.items()
    with pytest.raises(UserError, match=rf"^{name} must .*got {value}"):
        Settings(**option)


# Evaluation


@pytest.mark.parametrize("size", [1, 7, SAMPLES, 100])
def test_ragged_batches_have_their_weight(size):
    x, y = data = pairs(2, TARGET)
    w = TARGET / 3
    result = evaluate(Flow(), {"w": jnp.asarray(w)}, MIDPOINT, data, size)
    miss = midpoint(x, w) - y
    assert result.metric == pytest.approx(np.abs(miss).mean(), rel=1e-6)
    assert result.loss == pytest.approx((miss**2).mean(), rel=1e-6)
    assert result.nfe == 2


def test_nfe_is_the_mean_over_samples_and_nan_where_unknown():
    class Told(Flow):
        def __init__(self, known):
            super().__init__()
            self.known = known

        def predict(self, model, solver, batch):
            nfe = jnp.asarray(batch.y) if self.known else None
            zero = jnp.asarray(0.0)
            return Prediction(jnp.asarray(batch.x), zero, stats=Stats(nfe, None, None, None), loss=zero)

    counts = np.random.default_rng(0).integers(1, 50, 11).astype(np.float32)
    data = Dataset(np.zeros((11, 2), np.float32), counts)
    assert evaluate(Told(True), None, MIDPOINT, data, 4).nfe == pytest.approx(counts.mean())
    assert np.isnan(evaluate(Told(False), None, MIDPOINT, data, 4).nfe)


def test_nfe_of_an_adaptive_solver_is_how_often_it_calls_the_field():
    calls = []

    class Counted(Flow):
        def _solved(self, model, solver, batch):
            def field(t, y, args):
                jax.debug.callback(lambda: calls.append(1))
                return model["w"] @ y

            sol = kx.solve(field, jnp.asarray(batch.x), 0.0, 1.0, solver=solver, batch_axis=0, throw=False)
            zero = jnp.asarray(0.0)
            return Prediction(sol.y1, zero, stats=sol.stats, loss=zero, status=sol.status)

    result = evaluate(Counted(), {"w": jnp.asarray(5 * TARGET)}, bosh3(), pairs(2, TARGET), SAMPLES)
    jax.effects_barrier()
    assert result.nfe == len(calls) > 20


def test_failed_prediction_is_an_error_with_its_cause():
    with pytest.raises(SolveError, match=r"prediction with Adaptive.*max_steps"):
        evaluate(Flow(max_steps=1), Flow().init(jax.random.key(0)), bosh3(), pairs(2, TARGET), 24)


def test_empty_data_are_refused():
    nothing = Dataset(np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32))
    with pytest.raises(UserError, match="flow: the data set to evaluate on is empty"):
        evaluate(Flow(), Flow().init(jax.random.key(0)), MIDPOINT, nothing, 4)


def test_prediction_time_is_compiled_once_and_positive():
    task = Flow()
    ms = prediction_ms(task, task.init(jax.random.key(0)), learned(), pairs(2, TARGET), 8, repeats=3)
    assert ms > 0 and task.predict_traces == 1


# Penalties


def test_a_scheduled_penalty_is_added_to_the_loss_step_by_step():
    """The kinetic penalty of dy/dt = W y by one midpoint step, in closed form, times an exponential decay."""

    class Short(Flow):
        loss_options = ("penalty",)

        def loss(self, model, solver, batch, key, penalty=None):
            field = lambda t, y, w: w @ y
            options = {"args": model["w"], "solver": solver, "batch_axis": 0, "throw": False}
            sol = kx.solve(field, batch.x, 0.0, 1.0, penalty=penalty, key=key, **options)
            return sol.penalty, {"nfe": mean_nfe(sol.stats), "metric": sol.penalty, "status": sol.status}

    start, steps = TARGET, settings(train_steps=4, per_dispatch=1, lr=1e-9, batch_size=SAMPLES)
    seen = []
    penalty = kx.penalties.decaying(kx.penalties.Kinetic(), 2.0, 0.5, 8)
    Trainer(Short(start), MIDPOINT, steps, penalty).run(0, lambda now: seen.append(now.loss))
    y = Flow().train.x
    half = y + y @ start.T / 2
    kinetic = np.mean(np.sum((half @ start.T) ** 2, -1))
    np.testing.assert_allclose(seen, [2 * 4.0 ** (-n / 8) * kinetic for n in range(4)], rtol=1e-5)


def test_a_task_without_penalties_is_not_trained_with_one():
    with pytest.raises(UserError, match="the loss of flow takes no penalty"):
        Trainer(Flow(), MIDPOINT, settings(), kx.penalties.decaying(kx.penalties.Kinetic(), 1.0, 0.1, 10))


@pytest.mark.parametrize("weights", [(0.0, 1.0, 5), (1.0, -1.0, 5), (1.0, 0.5, 0)])
def test_weights_that_cannot_decay(weights):
    with pytest.raises(UserError, match="weights must be > 0 and steps >= 1"):
        kx.penalties.decaying(kx.penalties.Kinetic(), *weights)

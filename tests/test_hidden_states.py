"""Dynamics with states that are not observed: linear systems of which one component is seen, in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

import kuttax as kx
from kuttax.data.systems.trajectory import Trajectory
from kuttax.data.systems.windows import Scaling, TrajectorySplits, windows
from kuttax.errors import UserError
from kuttax.tasks import Dynamics, build
from kuttax.training.checkpoint import load_run, save_run
from kuttax.training.evaluate import evaluate
from kuttax.training.loop import Trainer
from kuttax.training.settings import Settings

pytestmark = pytest.mark.usefixtures("any_certificate")
RK4 = kx.FixedSteps(kx.tableaus.RK4, 1)


def oscillators(rng, count=8, rows=40) -> TrajectorySplits:
    """x = a cos(t + p), 0.3 apart: the velocity is not observed."""
    t = 0.3 * np.arange(rows)
    found = [
        Trajectory(t, (a * np.cos(t + p))[:, None], np.zeros((rows, 0)))
        for a, p in zip(rng.uniform(0.5, 1.5, count), rng.uniform(0, 6, count), strict=True)
    ]
    return TrajectorySplits(found[:-2], found[-2:-1], found[-1:])


def tanks(rng, count=6, rows=40) -> TrajectorySplits:
    """Two tanks in a row, of which the lower level is observed; the pump holds its value between observations."""
    whole = np.array([[-0.4, 0.0, 1.0], [0.4, -0.3, 0.0], [0.0, 0.0, 0.0]])
    flow, found = expm(whole), []
    for _ in range(count):
        u, state, levels = rng.uniform(0, 2, rows), np.array([2.0, 2.0]), []
        for pump in u:
            levels.append(state[1])
            state = (flow @ [*state, pump])[:2]
        found.append(Trajectory(np.arange(rows, dtype=float), np.array(levels)[:, None], u[:, None]))
    return TrajectorySplits(found[:-2], found[-2:-1], found[-1:])


def test_windows_know_their_past(rng):
    """The rows before the start, states and control inputs, standardised; no window begins before it has them."""
    data = tanks(rng).train
    scaling = Scaling.of(data)
    found = windows(data, scaling, 4, 3, plain=False, part="training", memory=5)
    one = data[0]
    assert found.past.shape[1:] == (6, 2)
    np.testing.assert_allclose(found.past[1, :, 0], ((one.x - scaling.mean) / scaling.std)[3:9, 0], rtol=1e-6)
    np.testing.assert_allclose(found.past[1, :, 1], ((one.u - scaling.u_mean) / scaling.u_std)[3:9, 0], rtol=1e-5)
    np.testing.assert_array_equal(found.past[:, -1, 0], found.z[:, 0, 0])
    assert windows(data, scaling, 4, 3, plain=False, part="training").past is None
    with pytest.raises(UserError, match=r"window of 36 intervals after 5 needs 42 rows, but the longest .* has 40"):
        windows(data, scaling, 36, 1, plain=False, part="training", memory=5)


def test_the_hidden_part_is_the_encoders_and_only_what_is_observed_is_compared(rng, key):
    task = Dynamics("hidden", oscillators(rng), hidden=2, memory=3, width=6, depth=1, horizon=4)
    model, batch = task.init(key), jax.tree.map(jnp.asarray, task.test)
    assert model.field.network.layers[-1].out_features == 3
    found = task.predict(model, RK4, batch)
    assert found.outputs.shape == (len(batch.z), 4, 1)
    start = np.concatenate([batch.z[:, 0], jax.vmap(model.encoder)(batch.past)], axis=1)
    field = lambda t, z, args: model.field.in_intervals(z, jnp.zeros(0, z.dtype))
    path = kx.solve(field, start, 0.0, 4.0, ts=np.arange(1.0, 5.0), solver=RK4, batch_axis=0).ys
    np.testing.assert_allclose(found.outputs[..., 0], np.asarray(path)[:, :, 0].T, rtol=1e-5, atol=1e-6)
    loss, log = task.loss(model, RK4, batch, key)
    np.testing.assert_allclose(loss, np.mean((found.outputs - batch.z[:, 1:]) ** 2), rtol=1e-5)
    np.testing.assert_allclose(log["metric"] ** 2, loss, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("parts", "least"), [(oscillators, 0.2), (tanks, 0.1)])
def test_training_finds_what_one_observed_state_cannot_tell(parts, least, rng):
    """An oscillation has no field of its position alone; the lower tank's level depends on the upper one's."""
    data = parts(rng)
    settings = Settings(train_steps=1500, batch_size=32, lr=5e-3, lr_decay=0.05)
    errors = []
    for hidden in (0, 1):
        task = Dynamics("hidden", data, hidden=hidden, memory=4, width=16, depth=1, horizon=8, input="hold")
        trained = Trainer(task, RK4, settings).run(0)
        errors.append(evaluate(task, trained.model, trained.solver, task.test, 64).metric)
    assert errors[1] < least and errors[1] < errors[0] / 3, errors


@pytest.mark.slow
def test_a_run_with_hidden_states_is_saved_forecast_and_distilled(rng, key, tmp_path):
    lines = ["trajectory,t,x1"]
    for n, one in enumerate([part for parts in oscillators(rng) for part in parts]):
        lines += [f"{n},{t:.3f},{x:.6f}" for t, x in zip(one.t, one.x[:, 0], strict=True)]
    (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n")
    options = {"file": str(tmp_path / "mine.csv"), "hidden": 1, "memory": 3, "width": 4, "depth": 1, "horizon": 5}
    task = build("dynamics", **options)
    model = task.init(key)
    save_run(tmp_path / "run", model, RK4, {"task": {"name": "dynamics", "options": options}})
    again, restored, solver = load_run(tmp_path / "run")
    for one, other in zip(jax.tree.leaves(restored), jax.tree.leaves(model), strict=True):
        np.testing.assert_array_equal(one, other)
    forecast = again.forecast(restored, solver)
    assert len(forecast["lead"]) == 40 - 1 - 3 and len(forecast["example"]["truth"][0]) == 1
    assert task.trajectories(model, task.train).y0.shape[1] == 2
    assert np.isfinite(task.growth(model, RK4, task.validation).rates).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": -1}, "hidden must be >= 0, got -1"),
        ({"hidden": 1, "memory": -1}, "memory must be >= 0, got -1"),
        ({"hidden": 1, "segments": 2}, "give one segment, or no hidden"),
        ({"hidden": 1, "known": lambda x, u: x}, "leave out hidden, or known"),
        ({"hidden": 1, "memory": 38}, "needs 49 rows, but the longest train trajectory has 40: lower horizon"),
    ],
)
def test_hidden_states_that_cannot_be(options, message, rng):
    with pytest.raises(UserError, match=message):
        Dynamics("hidden", oscillators(rng), **options)
    if "known" not in options:
        return
    task = Dynamics("hidden", oscillators(rng), hidden=1, width=4)
    with pytest.raises(UserError, match="neither control inputs nor hidden states"):
        task.program(task.init(jax.random.key(0)), RK4)

"""Densities against closed forms, SciPy and sums over all signs; the tasks that learn them."""

import dataclasses
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.stats import multivariate_normal, norm
from slowness import slow

import kuttax as kx
from kuttax.data.tables.points import Points, PointSplits, points
from kuttax.density.coupling import Independent, Optimal, optimal
from kuttax.errors import UserError
from kuttax.nn import ConcatSquashField, MLPField
from kuttax.tasks import TASKS, Density, Likelihood, Matching, Task, build
from kuttax.tasks.density import portrait as portraits
from kuttax.training.evaluate import predict_parts
from kuttax.training.watch import _scale
from kuttax.validity import certify
from kuttax.validity.certificate.scores import recognise
from kuttax.validity.certificate.solved import Solved
from kuttax.validity.control.reading import Tolerances, readings

REFERENCE = kx.Adaptive(kx.tableaus.TSIT5, 1e-6, 1e-6)
RK4 = kx.FixedSteps(kx.tableaus.RK4, 4)
A = np.array([[0.4, -0.9], [0.7, -0.3]])
SHIFT = np.array([0.5, -1.0])


def linear(t, x, args):
    return jnp.asarray(A, x.dtype) @ x + jnp.asarray(SHIFT, x.dtype)


def flow(t):
    """x(t) = M z + v for the linear field from time 0."""
    whole = expm(t * np.block([[A, SHIFT[:, None]], [np.zeros((1, 3))]]))
    return whole[:2, :2], whole[:2, 2]


def bent(key, dtype=jnp.float64):
    """A field that is neither linear nor autonomous."""
    field = ConcatSquashField(2, 8, 2, key=key, dtype=dtype)
    return jax.tree.map(lambda w: 2 * w if eqx.is_inexact_array(w) else w, field)


# log_prob, sample, transport


def test_log_prob_of_a_linear_field_is_a_normal_distributions(rng):
    x = rng.standard_normal((7, 2))
    turned, moved = flow(1.0)
    expected = multivariate_normal(moved, turned @ turned.T).logpdf(x)
    solver = kx.Adaptive(kx.tableaus.DOPRI5, 1e-10, 1e-10)
    np.testing.assert_allclose(kx.density.log_prob(linear, x, solver), expected, rtol=0, atol=1e-8)
    np.testing.assert_allclose(
        kx.density.log_prob(linear, x, solver, interval=(0.0, 2.0)),
        multivariate_normal(flow(2.0)[1], flow(2.0)[0] @ flow(2.0)[0].T).logpdf(x),
        rtol=0,
        atol=1e-8,
    )


def test_samples_of_a_linear_field_are_where_it_takes_the_noise(key):
    z = np.asarray(jax.random.normal(key, (50, 2), jnp.float64))
    turned, moved = flow(1.0)
    x = kx.density.sample(linear, key, (50, 2), kx.Adaptive(kx.tableaus.DOPRI5, 1e-10, 1e-10))
    np.testing.assert_allclose(x, z @ turned.T + moved, atol=1e-8)


def test_log_densities_integrate_to_one(key):
    """On a grid, at the reference's tolerance; the trapezoidal rule is exact for what vanishes at the edge."""
    side = np.linspace(-8, 8, 161)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    density = np.exp(kx.density.log_prob(bent(key), grid, REFERENCE))
    assert abs(density.sum() * (side[1] - side[0]) ** 2 - 1) < 1e-3


def test_sampling_then_inverting_returns_the_start(key):
    field = bent(key, jnp.float32)
    z = jax.random.normal(key, (100, 2), jnp.float32)
    x = kx.density.sample(field, key, (100, 2), REFERENCE, dtype=jnp.float32)
    back = kx.density.transport(field, x, 1.0, 0.0, REFERENCE)
    np.testing.assert_allclose(back.x, z, atol=1e-4)


def test_log_det_is_that_of_the_maps_finite_differences(key, rng):
    field, x, h = bent(key), rng.standard_normal((3, 2)), 1e-5
    right, up = np.array([h, 0]), np.array([0, h])
    moves = np.concatenate([x, x + right, x - right, x + up, x - up])
    moved = kx.density.transport(field, moves, 1.0, 0.0, kx.FixedSteps(kx.tableaus.RK4, 60))
    _, right, left, up, down = np.asarray(moved.x).reshape(5, 3, 2)
    jacobian = np.stack([right - left, up - down], axis=-1) / (2 * h)
    np.testing.assert_allclose(moved.log_det[:3], np.log(np.linalg.det(jacobian)), atol=1e-6)


# Traces


def test_the_exact_trace_is_that_of_finite_differences(key, rng):
    field, x, h = bent(key), rng.standard_normal(2), 1e-6
    f = lambda x: field(0.3, x, None)
    slope, trace = kx.density.Exact()(f, jnp.asarray(x), None)
    differences = [(f(x + step) - f(x - step))[i] / (2 * h) for i, step in enumerate(h * np.eye(2))]
    np.testing.assert_allclose(slope, f(jnp.asarray(x)), rtol=1e-12)
    np.testing.assert_allclose(trace, sum(differences), rtol=1e-7)


def test_hutchinson_is_unbiased(rng, key):
    """Over all signs the mean is exact, for every solver, because the noise is fixed for a solve."""
    field = ConcatSquashField(3, 6, 1, key=key, dtype=jnp.float64)
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=3)))
    x = np.repeat(rng.standard_normal((1, 3)), len(signs), axis=0)
    whole, state, _ = kx.density.augmented(field, x, None, kx.density.Hutchinson(), key)
    args = (None, jnp.asarray(signs))
    sol = kx.solve(whole, state, 1.0, 0.0, solver=RK4, args=args, batch_axis=0, args_axes=(None, 0))
    exact = kx.density.transport(field, x[:1], 1.0, 0.0, RK4)
    estimates = np.asarray(sol.y1[1])
    assert estimates.std() > 1e-3, "the signs matter"
    np.testing.assert_allclose(estimates.mean(), exact.log_det[0], rtol=1e-10)


@pytest.mark.parametrize("kind", ["rademacher", "normal"])
def test_hutchinson_draws_a_noise_for_each_sample(kind, key):
    """Of a linear field the estimate is eps^T A eps: mean tr A, known variance."""
    trace, n = kx.density.Hutchinson(kind), 4000
    noise = np.asarray(trace.noise(key, jnp.zeros((n, 2))))
    assert set(np.unique(noise)) == {-1.0, 1.0} if kind == "rademacher" else abs(noise.std() - 1) < 0.03
    moved = kx.density.transport(linear, jnp.zeros((n, 2)), 0.0, 1.0, RK4, trace=trace, key=key)
    symmetric = (A + A.T) / 2
    variance = 2 * np.sum(symmetric**2) - (0 if kind == "normal" else 2 * np.sum(np.diag(A) ** 2))
    deviation = float(moved.log_det.mean()) - np.trace(A)
    assert abs(deviation) < 4 * np.sqrt(variance / n)
    np.testing.assert_allclose(moved.log_det.var(), variance, rtol=0.2)


def test_per_sample_steps_and_gradients_take_the_noise_along(key, rng):
    """The gradient of an adaptive, per-sample solve with noise against finite differences."""
    solver = kx.Adaptive(kx.tableaus.DOPRI5, 1e-8, 1e-8, control="per_sample")
    x, direction = rng.standard_normal((3, 2)), rng.standard_normal((2, 2))

    @jax.jit
    def value(a):
        field = lambda t, x, args: jnp.tanh((jnp.asarray(A) + a * jnp.asarray(direction)) @ x)
        return kx.density.log_prob(field, x, solver, trace=kx.density.Hutchinson(), key=key).sum()

    slope = (value(1e-4) - value(-1e-4)) / 2e-4
    np.testing.assert_allclose(jax.grad(value)(0.0), slope, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: kx.density.log_prob(linear, np.zeros(3), RK4),
            r"^x must be .* shape \(n, d\), got float64 of .*\(3,\)$",
        ),
        (lambda: kx.density.log_prob(linear, np.zeros((3, 2), int), RK4), "got int64 of shape"),
        (lambda: kx.density.log_prob(linear, np.zeros((3, 2)), RK4, trace=kx.density.Hutchinson()), "give a key"),
        (lambda: kx.density.Hutchinson("uniform"), "kind must be one of rademacher, normal, got 'uniform'"),
        (lambda: kx.density.sample(linear, jax.random.key(0), (3,), RK4), r"shape must be \(n, d\)"),
        (lambda: kx.solve(linear, jnp.zeros(2), 0.0, 1.0, solver=RK4, args_axes=0), "give batch_axis too"),
        (
            lambda: kx.solve(linear, jnp.zeros((2, 2)), 0.0, 1.0, solver=RK4, batch_axis=0, args_axes=(0,)),
            "a tuple or a dict with an entry for each",
        ),
    ],
)
def test_what_cannot_work_is_one_line(call, says):
    with pytest.raises(UserError, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)


# Fields and couplings


def test_concat_squash_is_its_formula(key, rng):
    field = ConcatSquashField(3, 4, 1, key=key, dtype=jnp.float64)
    x, t = rng.standard_normal(3), 0.7

    def layer(weights, x):
        gate = 1 / (1 + np.exp(-(weights.gate.weight[:, 0] * t + weights.gate.bias)))
        return (weights.linear.weight @ x + weights.linear.bias) * gate + weights.shift.weight[:, 0] * t

    first, last = jax.tree.map(np.asarray, field.layers)
    np.testing.assert_allclose(field(t, jnp.asarray(x)), layer(last, np.tanh(layer(first, x))), rtol=1e-12)
    with pytest.raises(UserError, match=r"^ConcatSquashField needs size >= 1"):
        ConcatSquashField(0, 4, key=key)


def test_the_optimal_coupling_is_the_best_of_all(rng):
    noise, x = rng.standard_normal((2, 6, 2))
    cost = lambda noise: np.sum((noise - x) ** 2)
    best = min(cost(noise[list(order)]) for order in itertools.permutations(range(6)))
    found = jax.jit(optimal)(jnp.asarray(noise), jnp.asarray(x))
    assert sorted(map(tuple, np.asarray(found))) == sorted(map(tuple, noise))
    np.testing.assert_allclose(cost(found), best, rtol=1e-12)


# Tasks


def make_task(objective=None, columns=2, **options) -> Density:
    rng = np.random.default_rng(3)
    splits = PointSplits(*(points("small", rng.standard_normal((12, columns))) for _ in range(3)))
    return Density("small", splits, objective or Likelihood(), width=4, depth=1, **options)


def test_a_density_is_a_task():
    task = make_task()
    assert isinstance(task, Task) and task.interval == (1.0, 0.0)
    assert task.metric == ("NLL", False, "nats", "arithmetic") and _scale(task.metric) == 1.0


def test_predictions_are_negative_log_densities():
    x = np.random.default_rng(0).standard_normal((5, 2)).astype(np.float32)
    turned, moved = flow(1.0)
    expected = -multivariate_normal(moved, turned @ turned.T).logpdf(x)
    fine = kx.FixedSteps(kx.tableaus.RK4, 20)
    nats = make_task().predict(linear, fine, Points(x, np.zeros(5, np.float32)))
    bits = make_task(units="bits/dim").predict(linear, fine, Points(x, np.full(5, 3.0, np.float32)))
    np.testing.assert_allclose(nats.nll, expected, rtol=1e-5)
    np.testing.assert_allclose(nats.metric, expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(bits.nll, (expected - 3) / (2 * np.log(2)), rtol=1e-5)
    np.testing.assert_allclose(nats.outputs, (x - moved) @ np.linalg.inv(turned).T, atol=1e-5)
    assert nats.stats.nfe == 80 and nats.status == kx.Status.ok


def test_the_gradient_of_the_likelihood_is_its_finite_difference(key, rng):
    task = make_task(Likelihood(kx.density.Hutchinson()), field="mlp")
    wide = lambda x: jnp.asarray(x, jnp.float64) if eqx.is_inexact_array(x) else x
    arrays, rest = eqx.partition(jax.tree.map(wide, task.init(key)), eqx.is_inexact_array)
    batch = jax.tree.map(wide, task.train)
    loss = jax.jit(lambda arrays: task.loss(eqx.combine(arrays, rest), RK4, batch, key)[0])
    direction = jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape)), arrays)
    moved = lambda by: loss(jax.tree.map(lambda x, d: x + by * d, arrays, direction))
    slope = jax.tree.map(lambda g, d: jnp.sum(g * d), jax.grad(loss)(arrays), direction)
    np.testing.assert_allclose(sum(jax.tree.leaves(slope)), (moved(1e-5) - moved(-1e-5)) / 2e-5, rtol=1e-6)


@pytest.mark.parametrize("coupling", [Independent(), Optimal()], ids=["independent", "optimal"])
def test_matching_is_zero_for_the_field_that_leads_to_one_point(coupling, key):
    """From anywhere on the line to mu, mu lies (mu - x) / (1 - t) away for each unit of the time that is left."""
    mu = np.array([0.3, -0.8], np.float32)
    batch = Points(np.tile(mu, (8, 1)), np.zeros(8, np.float32))
    task = make_task(Matching(coupling))
    loss, log = task.loss(lambda t, x, args: (mu - x) / (1 - t), RK4, batch, key)
    assert loss < 1e-8 and log["nfe"] == 1 and np.isnan(log["metric"])
    away, _ = task.loss(lambda t, x, args: (mu - x) / (1 - t) + 1, RK4, batch, key)
    np.testing.assert_allclose(away, 2.0, rtol=1e-4)


def test_matching_fits_a_learned_solver_beside_the_field_and_not_the_field_to_it(key):
    task, batch = make_task(Matching(), field="mlp"), make_task().train
    solver = kx.LearnedRK.from_tableau(kx.tableaus.MIDPOINT, 1, order=1, dtype=np.float32)
    model = task.init(key)

    @eqx.filter_jit
    def gradients(model, solver, own):
        def loss(both):
            return task.loss(both[0], both[1] if own else RK4, batch, key)[0]

        return eqx.filter_grad(loss)((model, solver))

    of_field, of_solver = gradients(model, solver, True)
    without, nothing = gradients(model, solver, False)
    for one, other in zip(jax.tree.leaves(of_field), jax.tree.leaves(without), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(of_solver))
    assert not any(np.any(leaf != 0) for leaf in jax.tree.leaves(nothing))


@pytest.mark.parametrize("objective", [Likelihood(), Likelihood(penalised=3), Matching()], ids=str)
def test_a_penalty_is_added(objective, key):
    """The kinetic energy of a field that moves at speed one, with trace zero, is one."""
    task, batch = make_task(objective), make_task().train
    loss = lambda field, **penalty: task.loss(field, RK4, batch, key, **penalty)[0]
    constant = lambda t, x, args: jnp.stack([jnp.ones_like(x[0]), jnp.zeros_like(x[0])])
    weighted = 0.5 * kx.penalties.Kinetic()
    np.testing.assert_allclose(loss(constant, penalty=weighted) - loss(constant), 0.5, rtol=1e-4)


def test_the_parts_of_a_prediction_are_joined(key):
    task = make_task()
    model, whole = task.init(key), task.test
    halves = [jax.tree.map(lambda x: x[:6], whole), jax.tree.map(lambda x: x[6:], whole)]
    joined, one = predict_parts(task, model, RK4, halves), task.predict(model, RK4, whole)
    np.testing.assert_allclose(joined.nll, one.nll, rtol=1e-5)
    np.testing.assert_allclose(joined.metric, one.metric, rtol=1e-5)


def test_a_solver_can_be_distilled_for_each_direction(key):
    task = make_task()
    model = task.init(key)
    field, y0, t0, t1, args = task.trajectories(model, task.test)
    assert (t0, t1) == (1.0, 0.0)
    one = jax.tree.map(lambda x: x[0], y0)
    back = kx.solve(field, one, t0, t1, solver=RK4, args=args).y1
    np.testing.assert_allclose(back[0], task.predict(model, RK4, task.test).outputs[0, :2], rtol=1e-5)
    field, y0, t0, t1, args = task.sampling(model, 5, key)
    assert (t0, t1) == (0.0, 1.0) and y0.shape == (5, 2) and y0.dtype == jnp.float32
    there = kx.solve(field, y0[0], t0, t1, solver=RK4, args=args).y1
    np.testing.assert_allclose(there, kx.density.transport(model, y0, 0.0, 1.0, RK4).x[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"field": "conv"}, "small: unknown field 'conv'; known: squash, mlp"),
        ({"units": "bans"}, "small: unknown units 'bans'; known: nats, bits/dim"),
        ({"width": 0}, "small: width must be >= 1, got 0"),
    ],
)
def test_an_impossible_density_is_refused(change, says):
    with pytest.raises(UserError, match=says):
        dataclasses.replace(make_task(), **change)


def test_parts_of_different_width_are_refused():
    splits = PointSplits(points("a", np.eye(3)), points("b", np.eye(3)), points("c", np.eye(2)))
    with pytest.raises(UserError, match=r"small: training, validation and test data have \[2, 3\] columns"):
        Density("small", splits, Likelihood())


def test_a_portrait_is_the_density_on_a_grid(rng, monkeypatch):
    monkeypatch.setattr(portraits, "_SIDE", 15)
    data = rng.standard_normal((30, 2)).astype(np.float32)
    seen = portraits.portrait(linear, data, 256)
    turned, moved = flow(1.0)
    expected = multivariate_normal(moved, turned @ turned.T).logpdf(np.stack(np.meshgrid(seen.x, seen.y), axis=-1))
    np.testing.assert_allclose(seen.log_density, expected, atol=1e-3)
    assert seen.samples.shape == (30, 2) and seen.x[0] < data[:, 0].min() and seen.y[-1] > data[:, 1].max()


# Certificates of likelihoods


def of_scale(rate):
    """`predict` for x' = rate x, from time 1 to 0: log p(x) = log N(x e^-rate) - d rate, exactly."""

    def predict(solver, x):
        z, log_det, sol = kx.density.transport(lambda t, x, args: rate * x, x, 1.0, 0.0, solver, throw=False)
        nll = -(kx.density.standard_normal(z) + log_det)
        outputs = jnp.concatenate([z, log_det[:, None]], axis=1)
        return kx.Prediction(outputs, nll.mean(), stats=sol.stats, status=jnp.max(sol.status), nll=nll)

    return predict


@pytest.mark.parametrize(("steps", "verdict"), [(4, "invalid"), slow(400, "valid")])
def test_a_likelihood_is_judged_in_nats_with_its_doubt(steps, verdict, rng):
    x = rng.standard_normal((200, 2))
    exact = lambda rate: -norm.logpdf(x * np.exp(-rate)).sum(axis=1).mean() + 2 * rate
    rate = -0.5
    found = certify(of_scale(rate), kx.FixedSteps(kx.tableaus.EULER, steps), x, output_tolerance=10.0)
    reference = found.measured.references[0]
    assert found.measured.kind.name == "NLL" and found.verdict == verdict
    np.testing.assert_allclose(reference.metric, exact(rate), atol=1e-7)
    factor = (1 - rate / steps) ** steps  # Euler from time 1 to 0
    gap = (x**2).sum(axis=1) / 2 * (np.exp(-2 * rate) - factor**2)
    np.testing.assert_allclose(reference.metric_gap, gap.mean(), atol=1e-7)
    np.testing.assert_allclose(reference.metric_gap_error, gap.std(ddof=1) / np.sqrt(200), rtol=1e-6)
    assert "NLL changes by" in str(found) or verdict == "valid"


def test_a_strain_of_a_likelihood_is_in_nats():
    at = lambda nll: kx.Prediction(jnp.ones((4, 1)), jnp.asarray(nll), nll=jnp.full(4, nll))
    own, _ = readings([at(0.001), at(0.021)], Tolerances(metric=0.01), 1.0)
    np.testing.assert_allclose(own.strain, 2.0, rtol=1e-6)


def test_a_metric_that_is_not_the_mean_of_the_nll_is_none():
    nll = np.array([1.0, 2.0, 6.0])
    of = lambda metric: Solved(np.ones((3, 1)), nll.dtype, metric, None, None, None, nll)
    assert recognise([of(3.0)]).name == "NLL" and recognise([of(3.0), of(3.2)]).name == "metric"
    bad = kx.Prediction(jnp.ones((4, 1)), jnp.asarray(1.0), nll=jnp.zeros(3))
    with pytest.raises(UserError, match=r"nll must have shape \(4,\), one a sample, got \(3,\)"):
        certify(lambda solver, x: bad, RK4, np.zeros((4, 1)))


@pytest.mark.parametrize("name", ["density", "flow"])
def test_every_option_reaches_the_task(name, tmp_path, rng):
    asked = {"field": "mlp", "width": 3, "depth": 1, "units": "bits/dim", "max_steps": 9}
    own = {"density": {"trace": "hutchinson", "penalised": 5}, "flow": {"coupling": "optimal"}}[name]
    toy = {"data": "circles", "samples": 30, "test_samples": 20}
    task = build(name, **asked, **own, **toy, data_seed=1)
    assert {option: getattr(task, option) for option in asked} == asked
    assert task.objective == (Likelihood(kx.density.Hutchinson(), 5) if name == "density" else Matching(Optimal()))
    assert (len(task.train.x), len(task.test.x)) == (30, 20)
    assert np.any(task.train.x != build(name, **toy).train.x)
    np.savetxt(tmp_path / "mine.csv", rng.standard_normal((50, 3)), delimiter=",")
    table = build(name, file=tmp_path / "mine.csv", validation_fraction=0.5)
    assert (len(table.train.x), len(table.validation.x), len(table.test.x)) == (20, 20, 10)
    some = build(
        name, file=tmp_path / "mine.csv", delimiter=",", column=("column 3", "column 1"), validation_fraction=0.5
    )
    np.testing.assert_array_equal(some.train.x, table.train.x[:, [2, 0]])
    where = {"file", "column", "delimiter", "data_dir", "data_seed", "validation_fraction"}
    assert {field.name for field in dataclasses.fields(TASKS[name])} == {*asked, *own, *toy, *where}


def test_named_tasks_are_built():
    task = build("density", data="circles", samples=50, test_samples=20, trace="hutchinson", width=3)
    assert isinstance(task.objective.trace, kx.density.Hutchinson) and task.metric.unit == "nats"
    flow = build("flow", data="iris", coupling="optimal", field="mlp")
    assert flow.objective.coupling == Optimal() and isinstance(flow.init(jax.random.key(0)), MLPField)
    assert build("density", data="digits").metric.unit == "bits/dim"
    with pytest.raises(UserError, match="unknown data 'moon'; known: moons, circles"):
        build("density", data="moon")

"""The certificate against closed forms, SciPy and hand-made rows; a broken input never ends in `valid`."""

import io
import json
import math
import re

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console
from scipy import stats
from sklearn.metrics import log_loss

import kuttax as kx
from kuttax.errors import UserError
from kuttax.report import certificate as drawing
from kuttax.report import comparison, table
from kuttax.validity import Measurement, SolverRow, Thresholds, certify, judge
from kuttax.validity.certificate.crossing import crossing_share
from kuttax.validity.certificate.interval import of_mean, of_net_change, of_share
from kuttax.validity.certificate.judge import LEAST_SAMPLES
from kuttax.validity.certificate.scores import MetricKind, calibration_error, cross_entropies, recognise
from kuttax.validity.certificate.solved import Solved

EULER, MIDPOINT, RK4 = kx.tableaus.EULER, kx.tableaus.MIDPOINT, kx.tableaus.RK4
F64 = np.dtype(np.float64)


def of_field(field, metric=lambda y1: jnp.sqrt(jnp.mean(y1**2)), **options):
    """`predict` for a field on a batch of initial states, over t in [0, 1]."""

    def predict(solver, batch):
        sol = kx.solve(field, batch, 0.0, 1.0, solver=solver, batch_axis=0, throw=False, **options)
        return kx.Prediction(sol.y1, metric(sol.y1), stats=sol.stats, status=jnp.max(sol.status))

    return predict


decay = of_field(lambda t, y, args: -y)
ONE_STEP, OWN = kx.FixedSteps(EULER, 1), kx.FixedSteps(EULER, 4)


# Measuring, against closed forms


@pytest.fixture(scope="module")
def states():
    return np.random.default_rng(0).standard_normal((70, 2))


@pytest.fixture(scope="module")
def of_euler(states):
    """y' = -y under Euler at four steps: y1 = y0 (1 - 1/N)^N."""
    return certify(decay, kx.FixedSteps(EULER, 4), states)


def test_deviations_and_gaps_are_those_of_the_closed_form(of_euler, states):
    size = np.max(np.abs(states) / states.std(axis=0), axis=1)  # of the worse component
    factors = [(1 - 1 / n) ** n for n in (4, 8, 16)] + 2 * [math.exp(-1)]
    assert [row.role for row in of_euler.rows] == ["own", "finer", "finer", "reference", "reference"]
    for row, factor in zip(of_euler.rows, factors, strict=True):
        exact = math.exp(-1)  # of the start: what deviations are relative to
        np.testing.assert_allclose(row.from_own, abs(factor - factors[0]) * size / exact, atol=1e-7)
        np.testing.assert_allclose(row.from_reference, abs(factor - math.exp(-1)) * size / exact, atol=1e-7)
        expected = (factor - factors[0]) * np.sqrt(np.mean(states**2))
        assert row.metric_gap == pytest.approx(expected, abs=1e-8)
    assert [row.nfe for row in of_euler.rows[:3]] == [4, 8, 16]
    assert [row.steps_ratio for row in of_euler.rows[:3]] == [1, 2, 4]


def test_euler_at_four_steps_of_decay_is_invalid(of_euler, states):
    """It is off by (3/4)^4 e - 1 = -14 % for every sample, which of the larger ones is more than 5 % of the spread."""
    size = np.max(np.abs(states) / states.std(axis=0), axis=1)
    share = np.mean((1 - 0.75**4 * math.e) * size > 0.05)
    assert of_euler.verdict == "invalid"
    assert f"{100 * share:.3g} % of the samples deviate" in str(of_euler)


def test_decay_at_a_hundred_steps_of_the_midpoint_rule_is_valid(states):
    found = certify(decay, kx.FixedSteps(MIDPOINT, 100), states)
    assert found.verdict == "valid"
    assert found.measured.order == pytest.approx(2, abs=0.05) and found.measured.expected_order == 2


def test_the_finer_steps_may_be_left_out(of_euler, states):
    found = certify(decay, kx.FixedSteps(EULER, 4), states, refine=())
    assert [row.role for row in found.rows] == ["own", "reference", "reference"]
    assert found.verdict == of_euler.verdict and found.reasons == of_euler.reasons and found.measured.order is None


def test_the_tolerance_of_the_references_is_what_is_asked_for(of_euler, states):
    whole = {"max_step": 1.0}  # as long as the interval: the tolerance alone decides
    loose, tight = (
        certify(decay, kx.FixedSteps(EULER, 4), states, reference_tolerance=tol, **whole) for tol in (1e-3, 1e-9)
    )
    assert [row.solver.replace(", max_step=1", "") for row in tight.rows] == [row.solver for row in of_euler.rows]
    assert all("0.001" in row.solver for row in loose.rows[-2:])
    assert all(a.nfe < b.nfe for a, b in zip(loose.rows[-2:], tight.rows[-2:], strict=True))
    assert loose.verdict == "invalid"


def test_one_order_too_few_and_as_many_steps_are_told_apart_by_the_order(of_euler):
    errors = [abs((1 - 1 / n) ** n - math.exp(-1)) for n in (8, 16)]
    assert of_euler.measured.order == pytest.approx(math.log2(errors[0] / errors[1]), abs=1e-4)
    assert of_euler.measured.expected_order == 1


@pytest.mark.parametrize("scheme", [kx.tableaus.RALSTON3, RK4], ids=str)
def test_observed_order_is_the_schemes(scheme, states):
    turn = of_field(lambda t, y, args: jnp.stack([-y[1], y[0]]) * (1 + t))
    assert certify(turn, kx.FixedSteps(scheme, 6), states).measured.order == pytest.approx(scheme.order, abs=0.1)


def test_gradient_cosine_is_that_of_the_closed_form(states):
    """Loss sum y1, field a * y: the gradient by a_i is sum x_i under one step of Euler, e^a_i sum x_i exactly."""
    a, batch = np.array([0.5, -2.0]), np.abs(states)
    x = batch.sum(axis=0)
    exact = x * np.exp(a)

    def predict(solver, batch):
        factor = 1 + a if solver == ONE_STEP else np.exp(a)
        return kx.Prediction(batch * factor, np.sum(batch * factor))

    def loss(solver, batch):
        return 0.0, {"a": x if solver == ONE_STEP else exact}

    found = certify(predict, ONE_STEP, batch, loss=loss)
    for row in found.measured.references:
        assert row.gradient_cosine == pytest.approx(x @ exact / np.linalg.norm(x) / np.linalg.norm(exact))
    assert found.rows[0].gradient_cosine == pytest.approx(1)


def test_a_fan_of_errors_is_no_ode():
    """Accumulated error as the feature, after Ott et al. 2021, section 3: the class of XOR is read off the norm.

    A rotation at speed w keeps the norm; N steps of Euler make it (1 + w^2 / N^2)^(N/2). The speed is 2 where the
    inputs' signs differ and 1 where they do not, so that Euler separates the classes and the field cannot.
    """
    inputs = np.random.default_rng(1).uniform(-1, 1, (120, 2))
    labels = (inputs[:, 0] * inputs[:, 1] < 0).astype(np.int64)
    steps = 12
    grown = [(1 + w**2 / steps**2) ** (steps / 2) for w in (1, 2)]

    def field(t, y, args):
        u, v, speed = y
        return jnp.stack([-speed * v, speed * u, jnp.zeros_like(u)])

    def predict(solver, batch):
        y0 = jnp.stack([jnp.ones(120), jnp.zeros(120), 1.0 + batch], axis=1)
        sol = kx.solve(field, y0, 0.0, 1.0, solver=solver, batch_axis=0)
        logit = jnp.linalg.norm(sol.y1[:, :2], axis=1) - sum(grown) / 2
        return kx.Prediction(logit, jnp.mean(((logit > 0) == (labels > 0)).astype(jnp.float64)), labels)

    found = certify(predict, kx.FixedSteps(EULER, steps), jnp.asarray(labels, jnp.float64))
    assert found.rows[0].metric == 1
    half = 1 - labels.mean()
    for row in found.measured.references:
        assert row.metric == pytest.approx(half) and row.flips == labels.sum() == row.lost
    assert found.measured.kind == MetricKind("accuracy", 1.0)
    assert found.verdict == "invalid" and "points" in found.reasons[0]


@pytest.mark.slow
def test_a_stiff_field_takes_implicit_references():
    """y' = -1e5 (y - cos t) - sin t, solved by cos t: too stiff for the explicit references.

    In place of an own solver, which would have to be implicit too, stands the closed form with an error of order one.
    """
    stiff = of_field(lambda t, y, args: -1e5 * (y - jnp.cos(t)) - jnp.sin(t), jnp.mean, max_steps=200)

    def predict(solver, batch):
        if not isinstance(solver, kx.FixedSteps):
            return stiff(solver, batch)
        y1 = np.full((60, 1), math.cos(1) + 1e-3 / solver.steps)
        return kx.Prediction(y1, np.mean(y1))

    found = certify(predict, OWN, np.ones((60, 1)))
    used = [row.solver.split(",")[0] for row in found.measured.references]
    assert used == ["FromDiffrax(Kvaerno5", "FromDiffrax(Kvaerno3"]
    failed = [row.failure for row in found.rows if row.role == "reference" and row.failure]
    assert len(failed) == 2 and all("max_steps" in why for why in failed)
    for row in found.measured.references:
        assert row.metric == pytest.approx(math.cos(1), abs=1e-8) and row.nfe is None
    assert found.verdict == "valid" and found.measured.order == pytest.approx(1, abs=1e-3)


# Finer solvers


def numpy_solve(table, y, times):
    """y' = cos(3 t) y by the rows of a table, each `times` times at h / `times`."""
    t = 0.0
    for a, b, c, h in zip(*(np.asarray(x) for x in (table.a, table.b, table.c, table.h)), strict=True):
        h = h / times
        for _ in range(times):
            k = np.zeros(len(b))
            for i in range(len(b)):
                k[i] = np.cos(3 * (t + c[i] * h)) * (y + h * a[i] @ k)
            t, y = t + h, y + h * b @ k
    return y


@pytest.mark.parametrize(("per_step", "times"), [(True, 2), (False, 4)])
def test_each_row_of_a_learned_table_runs_twice_at_half_its_step(per_step, times, key):
    solver = kx.LearnedRK.from_tableau(MIDPOINT, 3, stages=3, order=2, per_step=per_step, learn_steps=True)
    dynamic, static = eqx.partition(solver, eqx.is_array)
    noisy = jax.tree.map(lambda x: x + 0.3 * jax.random.normal(key, x.shape, x.dtype), dynamic)
    solver = eqx.combine(noisy, static)
    better = solver.refined(times, F64).solver
    found = kx.solve(lambda t, y, args: jnp.cos(3 * t) * y, jnp.ones(()), 0.0, 1.0, solver=better)
    assert found.stats.nfe == times * solver.nfe
    np.testing.assert_allclose(found.y1, numpy_solve(solver.table(jnp.float64), 1.0, times), rtol=1e-12)


def test_finer_solvers_of_every_kind():
    assert kx.FixedSteps(RK4, 3).refined(2, F64).solver == kx.FixedSteps(RK4, 6)
    pair = kx.Adaptive(kx.tableaus.DOPRI5, 1e-4, 1e-3).refined(4, F64).solver
    assert (pair.rtol, pair.atol) == (1e-6, 1e-5)
    assert kx.Reversible(kx.FixedSteps(RK4, 3)).refined(2, F64).solver.steps == 6
    assert kx.FromDiffrax(diffrax.Euler(), steps=5).refined(2, F64).solver.steps == 10
    assert kx.FromDiffrax(diffrax.Tsit5(), rtol=1e-4).refined(2, F64).solver.rtol == 1e-5


def test_a_tolerance_stops_at_what_the_dtype_carries_and_says_so():
    least = 8 * float(np.finfo(np.float32).eps)
    found = kx.Adaptive(kx.tableaus.DOPRI5, 4 * least, 1e-3).refined(2, np.dtype(np.float32))
    assert found.solver.rtol == pytest.approx(least) and found.solver.atol == pytest.approx(1e-3 / 4)
    assert "float32 carries" in found.note
    found = kx.Adaptive(kx.tableaus.DOPRI5, least, 1e-3).refined(2, np.dtype(np.float32))
    assert found.solver is None and "float32 carries" in found.note


# Scores, crossings and intervals


def solved(outputs, labels=None, metric=0.0):
    outputs = np.asarray(outputs, float)
    return Solved(outputs.reshape(len(outputs), -1), F64, metric, labels, None, None)


def test_cross_entropy_is_scikit_learns_and_metrics_are_recognised(rng):
    logits, labels = 3 * rng.standard_normal((50, 4)), rng.integers(0, 4, 50)
    odds = np.exp(logits)
    entropy = log_loss(labels, odds / odds.sum(axis=1, keepdims=True), labels=range(4))
    given = solved(logits, labels)
    assert cross_entropies(given).mean() == pytest.approx(entropy)
    share = np.mean(logits.argmax(axis=1) == labels)
    kinds = {
        entropy: MetricKind("cross-entropy"),
        share: MetricKind("accuracy"),
        100 * share: MetricKind("accuracy", 100.0),
    }
    for metric, kind in {**kinds, 0.123: MetricKind("metric")}.items():
        assert recognise([solved(logits, labels, metric)]) == kind
    one = solved(logits[:, 0], np.sign(labels - 1.5).astype(int))  # one logit, labels -1 and 1
    assert cross_entropies(one).mean() == pytest.approx(
        log_loss(labels > 1, 1 / (1 + np.exp(-logits[:, 0])), labels=[False, True])
    )


def test_calibration_error_of_sure_and_of_honest_predictions():
    """Sure and always right, sure and always wrong, 73 % sure and right for 3 of 4."""
    right = np.zeros(4, int)
    sure = np.tile([50.0, 0.0], (4, 1))
    assert calibration_error(solved(sure, right)) == pytest.approx(0)
    assert calibration_error(solved(sure, 1 - right)) == pytest.approx(1)
    honest = np.tile([1.0, 0.0], (4, 1))
    assert calibration_error(solved(honest, np.array([0, 0, 0, 1]))) == pytest.approx(0.75 - 1 / (1 + math.exp(-1)))


def test_crossings_in_one_dimension_are_changes_of_order():
    t = np.linspace(0, 1, 5)
    lines = np.stack([t, 0.1 + 0.5 * t, 2 + 0 * t])[..., None]
    assert crossing_share(lines) == pytest.approx(1 / 3)
    assert crossing_share(np.exp(-t)[None, :, None] * np.array([1.0, 2.0, -3.0])[:, None, None]) == 0


def test_crossings_in_two_dimensions_are_of_paths():
    """Circles about one centre never meet, and two lines through each other do, at whatever times."""
    t = np.linspace(0, 6, 40)
    circle = np.stack([np.cos(t), np.sin(t)], axis=1)
    assert crossing_share(np.stack([circle, 2 * circle, 3 * circle])) == 0
    across = np.stack([np.linspace(-1, 1, 40), 0.3 * np.linspace(-1, 1, 40)], axis=1)
    assert crossing_share(np.stack([across, across[:, ::-1] + 0.01])) == 1
    assert crossing_share(np.zeros((3, 4, 3))) is None


def test_an_explicit_step_too_long_crosses_and_the_reference_does_not():
    """y' = -3 y by one step of Euler: y1 = -2 y0 turns the order of all pairs round."""

    def predict(solver, batch):
        y1 = batch * (-2 if solver == ONE_STEP else math.exp(-3))
        return kx.Prediction(y1, np.mean(y1**2), trajectory=np.stack([batch, y1], axis=1))

    found = certify(predict, ONE_STEP, np.linspace(0.5, 2, 80)[:, None])
    assert found.rows[0].crossings == 1 and all(row.crossings == 0 for row in found.measured.references)


@pytest.mark.parametrize(("count", "n"), [(0, 30), (3, 30), (30, 30), (7, 500)])
def test_interval_of_a_share_is_scipys(count, n):
    expected = stats.binomtest(count, n).proportion_ci(confidence_level=0.9, method="exact")
    np.testing.assert_allclose(of_share(count, n), expected, atol=1e-9)


@pytest.mark.parametrize(("lose", "gain"), [(0.005, 0.005), (0.02, 0.01), (0.1, 0.02)])
def test_interval_of_a_net_change_holds_as_often_as_it_says(lose, gain):
    """Exact coverage of each bound over all outcomes of 200 samples."""
    n, below, above = 200, 0.0, 0.0
    for lost in range(60):
        for gained in range(30):
            chance = stats.multinomial.pmf([lost, gained, n - lost - gained], n, [lose, gain, 1 - lose - gain])
            low, high = of_net_change(lost, gained, n)
            below += chance * (low <= gain - lose)
            above += chance * (high >= gain - lose)
    assert min(below, above) > 0.925


def test_interval_of_a_mean_is_scipys(rng):
    values = rng.standard_normal(20)
    error = stats.sem(values)
    expected = stats.t.interval(0.9, 19, values.mean(), error)
    np.testing.assert_allclose(of_mean(values.mean(), error, 20), expected)


# Judging: rows in, verdict out


def measured(n, kind=None, own=90.0, references=(), **changes):
    """A measurement of n samples with references of which nothing is known but these changes."""
    zero = np.zeros(n)
    base = {"metric": own, "metric_gap": 0.0, "from_own": zero + 1e-6, "from_reference": zero, "nfe": 50.0}
    first = SolverRow(role="own", solver="Own", metric=own, nfe=4.0, from_own=zero, from_reference=zero)
    rows = [
        SolverRow(role="reference", solver=f"R{i}", **{**base, **changes, **each}) for i, each in enumerate(references)
    ]
    return Measurement(n, kind or MetricKind("metric"), (first, *rows))


def accuracy(n, lost, gained, flips=None):
    share = 100 * (gained - lost) / n
    changes = {"metric": 90 + share, "metric_gap": share, "lost": lost, "gained": gained}
    flipped = lost + gained if flips is None else flips
    return measured(n, MetricKind("accuracy", 100.0), references=({}, {}), **changes, flips=flipped)


@pytest.mark.parametrize(
    ("n", "lost", "gained", "flips", "verdict"),
    [
        (1000, 0, 0, 0, "valid"),
        (1000, 3, 1, 4, "valid"),
        (1000, 200, 0, 200, "invalid"),
        (1000, 0, 200, 200, "invalid"),  # other predictions are other predictions, better ones too
        (1000, 12, 1, 13, "undecided"),  # 1.1 points
        (10000, 150, 10, 160, "invalid"),  # 1.4 points, but of many samples
        (10000, 60, 5, 65, "valid"),
        (1000, 100, 100, 200, "invalid"),  # flips that cancel in the accuracy
        (1000, 0, 0, 400, "invalid"),  # flips between wrong classes
        (163, 0, 0, 0, "valid"),
        (162, 0, 0, 0, "undecided"),  # too few samples to show one point
        (20, 15, 0, 15, "invalid"),  # enough for this
        (2, 0, 0, 0, "undecided"),
    ],
)
def test_verdict_on_accuracy(n, lost, gained, flips, verdict):
    assert judge(accuracy(n, lost, gained, flips), Thresholds()).verdict == verdict


def test_thresholds_count():
    rows = accuracy(1000, 30, 0)
    assert judge(rows, Thresholds()).verdict == "invalid"
    assert judge(rows, Thresholds(metric=0.05)).verdict == "valid"
    assert judge(rows, Thresholds(metric=0.05, outputs=0.01)).verdict == "invalid"


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("gap", "deviating", "n", "verdict"),
    [
        (0.005, 0, 200, "valid"),
        (0.03, 0, 200, "invalid"),
        (0.005, 4, 200, "valid"),
        (0.005, 60, 200, "invalid"),
        (0.005, 12, 200, "undecided"),
        (0.0, 0, LEAST_SAMPLES, "valid"),
        (0.0, 0, LEAST_SAMPLES - 1, "undecided"),
        (0.5, 0, 5, "undecided"),
    ],
)
def test_verdict_on_any_metric(gap, deviating, n, verdict, sign):
    """A metric of which only the mean is known, like RMSE: its change is relative, where outputs deviate as much."""
    far = np.where(np.arange(n) < deviating, 0.5, 0.04)
    own = 0.2 * (1 - gap) if sign > 0 else 0.2
    other = 0.2 if sign > 0 else 0.2 * (1 - gap)
    rows = measured(n, None, own, ({}, {}), metric=other, metric_gap=other - own, from_own=far)
    assert judge(rows, Thresholds()).verdict == verdict


def test_verdict_on_cross_entropy_has_an_interval():
    sure = {"metric": 0.5, "metric_gap": 0.1, "metric_gap_error": 0.01, "flips": 0}
    kind = MetricKind("cross-entropy")
    assert judge(measured(400, kind, 0.4, ({}, {}), **sure), Thresholds()).verdict == "invalid"
    unsure = {**sure, "metric_gap_error": 0.1}
    assert judge(measured(400, kind, 0.4, ({}, {}), **unsure), Thresholds()).verdict == "undecided"


def said(rows):
    found = judge(rows, Thresholds())
    assert found.verdict == "undecided"
    return " ".join(found.reasons)


def test_references_that_disagree_decide_nothing():
    far = np.full(500, 0.02)
    rows = measured(500, references=({}, {"metric": 80.0, "from_reference": far}))
    assert "references disagree: the metric differs by 10" in said(rows)
    rows = measured(500, references=({}, {"from_reference": np.ones(500)}))
    assert "references disagree: 95 % of the samples differ by up to 1 of" in said(rows)


def test_without_two_references_nothing_is_decided():
    rows = measured(500, references=({}, {"failure": "it blew up"}))
    assert "1 of 2 references reached the end (R1: it blew up)" in said(rows)


# What must never be valid


def stub(outputs, **fields):
    """A model that needs no solve: outputs by the solver's kind."""

    def predict(solver, batch):
        out = jnp.asarray(outputs(solver), jnp.float64)
        return kx.Prediction(out, jnp.mean(out), **fields)

    return predict


def is_reference(solver):
    return not isinstance(solver, kx.FixedSteps)


def test_outputs_that_are_not_finite_are_undecided():
    lost = np.ones((100, 2))
    lost[3, 1] = np.nan
    found = certify(stub(lambda solver: lost), OWN, lost)
    assert found.verdict == "undecided" and "1 of 100 samples are not finite" in found.reasons[0]
    assert "NaN" not in json.dumps(found.to_json(), allow_nan=False)
    found = certify(stub(lambda solver: lost if is_reference(solver) else np.ones((100, 2))), OWN, lost)
    assert found.verdict == "undecided" and "0 of 2 references" in found.reasons[0]


def test_a_field_that_blows_up_has_no_certificate():
    """y' = y^2 from y0 >= 1 ends before t = 1; one step of Euler never sees it. 1100 entries are too many to factor."""
    found = certify(of_field(lambda t, y, args: y**2, max_steps=64), ONE_STEP, np.full((1100, 1), 1.5))
    assert found.verdict == "undecided" and "0 of 2 references reached the end" in found.reasons[0]


def test_an_own_solver_that_fails_is_undecided():
    lost = lambda t, y, args: jnp.log(y - 2)
    told = of_field(lost)
    raised = lambda solver, batch: kx.solve(lost, batch, 0.0, 1.0, solver=solver)
    for predict in (told, raised):
        found = certify(predict, OWN, np.ones((60, 1)))
        assert found.verdict == "undecided" and "NaN or infinite" in found.reasons[0]
        assert len(found.rows) == 1


def test_a_model_that_ignores_the_solver_is_undecided():
    found = certify(stub(lambda solver: np.ones((100, 2))), OWN, None)
    assert found.verdict == "undecided" and "same outputs to the last bit" in found.reasons[0]


def test_one_sample_is_undecided():
    found = certify(stub(lambda solver: np.full((1, 2), 1 + 1e-9 * is_reference(solver))), OWN, None)
    assert found.verdict == "undecided" and found.reasons == (
        "one sample shows nothing about others: give a batch of held-out samples",
    )


class Homemade(kx.AbstractSolver):
    """A solver that kuttax does not know."""

    def run(self, problem, derivative):
        return OWN.run(problem, derivative)

    def check(self, problem):
        OWN.check(problem)


class Refinable(Homemade):
    """One that says how it is refined."""

    def refined(self, times, dtype):
        return kx.Refined(kx.FixedSteps(EULER, 4 * times))


def test_a_solver_of_ones_own_says_how_it_is_refined(states):
    with pytest.raises(UserError, match=r"^Homemade cannot be refined.*give Homemade a method refined") as caught:
        certify(decay, Homemade(), states)
    assert "\n" not in str(caught.value)
    assert [row.nfe for row in certify(decay, Refinable(), states).rows[:3]] == [4, 8, 16]


def two_outputs(**fields):
    return lambda solver, batch: kx.Prediction(jnp.ones((5, 2)), jnp.asarray(1.0), **fields)


@pytest.mark.parametrize(
    ("predict", "batch", "options", "says"),
    [
        (decay, np.zeros((0, 2)), {}, "the batch is empty"),
        (stub(lambda solver: np.zeros((0, 2))), None, {}, "the batch is empty"),
        (lambda solver, batch: 3.0, None, {}, "must return a kx.Prediction, got float"),
        (lambda solver, batch: kx.Prediction(jnp.ones(5), jnp.ones(5)), None, {}, "metric must be one number"),
        (lambda solver, batch: kx.Prediction(jnp.ones(()), jnp.ones(())), None, {}, "one row a sample"),
        (two_outputs(labels=jnp.ones(5)), None, {}, "labels must be integers"),
        (two_outputs(labels=jnp.ones(4, jnp.int32)), None, {}, "labels must be integers"),
        (two_outputs(trajectory=jnp.ones((4, 2))), None, {}, "trajectory must have shape"),
        (two_outputs(), None, {"metric_tolerance": 0.0}, "metric_tolerance must be a number > 0"),
        (two_outputs(), None, {"reference_tolerance": 0}, "reference_tolerance must be a number > 0"),
        (two_outputs(), None, {"refine": (2, 3)}, "refine must hold 2, 4, or nothing"),
        (two_outputs(), None, {"output_tolerance": math.nan}, "output_tolerance must be a number > 0"),
        (two_outputs(), None, {"loss": lambda solver, batch: 1.0}, r"must return \(value, gradient\)"),
    ],
)
def test_mistakes_are_told_in_one_line(predict, batch, options, says):
    with pytest.raises(UserError, match=says) as caught:
        certify(predict, OWN, batch, **options)
    assert "\n" not in str(caught.value)


# What is shown


def test_json_table_and_picture_say_what_was_found(of_euler, tmp_path):
    record = json.loads(json.dumps(of_euler.to_json(), allow_nan=False))
    assert record["verdict"] == "invalid" and record["samples"] == 70 and len(record["rows"]) == 5
    shown = {}
    for width in (50, 60, 80, 120):
        console = Console(width=width, record=True, file=io.StringIO())
        console.print(drawing.terminal(record, width))
        shown[width] = console.export_text()
    assert all(len(line) <= width for width, text in shown.items() for line in text.splitlines())
    assert all("…" not in text and "Euler" in text for text in shown.values())
    together = lambda text: "".join(text.split())
    assert all(together(reason) in together(text) for reason in record["reasons"] for text in shown.values())
    text = shown[120]
    for word in (
        "invalid on 70 samples",
        "FixedSteps(Euler, steps=8)",
        "Tsit5",
        "Observed order",
        "at most 5 % are allowed",
    ):
        assert word in text
    png, svg = drawing.plot(record, tmp_path / "certificate")
    assert png.stat().st_size > 10_000 and "step size, as a share" in svg.read_text()


def test_a_long_name_of_a_solver_breaks_into_lines_of_the_picture(tmp_path):
    """`tests/conftest.py` looks at every picture that a test draws: nothing is cut off."""
    record = certify(stub(lambda solver: np.ones((100, 2))), OWN, None).to_json()
    record["rows"][0]["solver"] = "LearnedRK from RK4: " + "order 2, " * 20
    svg = drawing.plot(record, tmp_path / "certificate")[1].read_text()
    lines = [line for line in re.findall(r"<!-- (.*?) -->", svg, re.DOTALL) if "order 2" in line]
    assert len(lines) >= 2 and sum(line.count("order 2") for line in lines) == 20


def test_a_certificate_without_predictions_can_be_shown_too(tmp_path):
    found = certify(stub(lambda solver: np.full((100, 2), np.nan)), OWN, None)
    drawing.plot(found.to_json(), tmp_path / "certificate")
    shown = drawing.terminal(found.to_json()).renderables
    assert shown[0].row_count == 1


def test_comparisons_show_verdicts_where_there_are_some():
    def run(seed, **more):
        metric = {"name": "accuracy", "unit": "%", "higher_is_better": True}
        about = {"kind": "run", "task": "t", "metric": metric, "method": "rk4", "label": "RK4", "budget": 4}
        return {**about, "seed": seed, "test": 90.0, "nfe": 4, **more}

    plain = table.markdown(comparison.summarise([run(0), run(1)]))
    assert "still an" not in plain and "verdicts" not in table.csv(comparison.summarise([run(0)]))
    mixed = [run(0, certificate={"verdict": "valid"}), run(1, certificate={"verdict": "invalid"}), run(2)]
    shown = table.markdown(comparison.summarise(mixed))
    assert "still an (ODE)" in shown and "1 valid, 1 invalid" in shown
    assert table.csv(comparison.summarise(mixed)).splitlines()[1].endswith("valid invalid")

"""What must not change a verdict, and verdicts that must never be given: tried on closed forms in place of solves."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kuttax as kx
from kuttax.validity import certify

EULER, MIDPOINT, RK4 = kx.tableaus.EULER, kx.tableaus.MIDPOINT, kx.tableaus.RK4
OWN = kx.FixedSteps(EULER, 4)
SAMPLES = 200
SEEDS = st.integers(0, 10_000)
many = settings(max_examples=25, deadline=None)


def kind(solver):
    """Which row of the certificate asks."""
    if isinstance(solver, kx.FixedSteps):
        return "own" if solver.steps == OWN.steps else f"finer {solver.steps}"
    return "first" if "Tsit5" in str(solver) else "second"


def of_outputs(outputs, metric=None, **fields):
    """`predict` that gives these outputs, by the kind of the solver; finer rows are the first reference's."""

    def predict(solver, batch):
        name = kind(solver)
        found = outputs[name if name in outputs else "first"]
        value = 0.0 if metric is None else metric(name)
        return kx.Prediction(found, np.asarray(value), **fields)

    return predict


def verdict(outputs, metric=None, **fields):
    return certify(of_outputs(outputs, metric, **fields), OWN, None, refine=()).verdict


def three(rng, shape, error, share=1.0, between=1e-9):
    """Outputs of the own solver and two references: a share of the samples is off by `error` spreads everywhere."""
    exact = rng.standard_normal(shape)
    away = rng.choice([-1.0, 1.0], shape)
    away[rng.permutation(len(exact))[round(share * len(exact)) :]] = 0.0
    noise = lambda: between * rng.standard_normal(shape)
    spread = exact.std(axis=tuple(range(max(1, exact.ndim - 1))))
    return {"own": exact + error * spread * away + noise(), "first": exact + noise(), "second": exact + noise()}


def mapped(outputs, function):
    return {name: function(values) for name, values in outputs.items()}


# Cases of every verdict: error in spreads, share of the samples, difference of the references
CASES = [(1e-4, 1.0, 1e-9), (0.03, 1.0, 1e-9), (0.3, 0.02, 1e-9), (0.3, 0.05, 1e-9), (0.3, 0.5, 1e-9), (0.3, 1.0, 0.2)]
SHAPES = [(SAMPLES, 3), (SAMPLES, 4, 3), (SAMPLES,)]


@many
@given(SEEDS, st.sampled_from(CASES), st.sampled_from(SHAPES), st.floats(-6, 6), st.floats(-1, 1))
def test_an_affine_map_of_each_component_changes_no_verdict(seed, case, shape, size, sign):
    rng = np.random.default_rng(seed)
    error, share, between = case
    outputs = three(rng, shape, error, share, between)
    components = 1 if len(shape) == 1 else shape[-1]
    scale = 10.0 ** (size * rng.uniform(0.5, 1, components)) * rng.choice([-1, 1], components)
    offset = 1e4 * sign * scale * rng.uniform(0.5, 1, components)  # rounding stays far below the tolerances
    assert verdict(mapped(outputs, lambda y: scale * y + offset)) == verdict(outputs)


@pytest.mark.parametrize("size", [1e-250, 1e250])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_squares_of_outputs_neither_vanish_nor_overflow(size, case, rng):
    outputs = three(rng, (SAMPLES, 3), *case)
    assert verdict(mapped(outputs, lambda y: size * y)) == verdict(outputs)


@many
@given(SEEDS, st.sampled_from(CASES), st.integers(1, 50))
def test_components_that_are_exact_change_no_verdict(seed, case, more):
    rng = np.random.default_rng(seed)
    outputs = three(rng, (SAMPLES, 2), *case)
    exact = 100 * rng.standard_normal((SAMPLES, more)) * rng.choice([0.0, 1.0], more) + rng.standard_normal(more)
    assert verdict(mapped(outputs, lambda y: np.hstack([y, exact]))) == verdict(outputs)


@many
@given(SEEDS, st.sampled_from(CASES))
def test_the_order_of_the_samples_changes_no_verdict(seed, case):
    rng = np.random.default_rng(seed)
    outputs, order = three(rng, (SAMPLES, 2), *case), rng.permutation(SAMPLES)
    assert verdict(mapped(outputs, lambda y: y[order])) == verdict(outputs)


METRICS = {
    "constant": lambda name: 1.0,
    "zero": lambda name: 0.0,
    "rounding": lambda name: {"own": 3e-19, "first": 1e-18, "second": 5e-17}[name],
    "large": lambda name: {"own": 1e6, "first": 1e6 + 1, "second": 1e6 + 1}[name],
}


@many
@given(SEEDS, st.floats(0.06, 1e3), st.sampled_from(SHAPES), st.floats(-1e4, 1e4), st.sampled_from(list(METRICS)))
def test_a_model_whose_outputs_are_all_off_is_never_valid(seed, error, shape, offset, metric):
    rng = np.random.default_rng(seed)
    outputs = mapped(three(rng, shape, error), lambda y: y + offset)
    assert verdict(outputs, METRICS[metric]) == "invalid"


@many
@given(SEEDS, st.floats(0.15, 1e3), st.floats(1, 1e9))
def test_a_few_extreme_samples_hide_nothing(seed, error, extreme):
    """They make the standard deviation large; what 95 % of the samples stay within is twice their own."""
    rng = np.random.default_rng(seed)
    outputs = three(rng, (SAMPLES, 2), error)
    far = np.zeros((SAMPLES, 2))
    far[rng.integers(SAMPLES, size=3)] = extreme
    assert verdict(mapped(outputs, lambda y: y + far)) == "invalid"


@many
@given(SEEDS, st.sampled_from(SHAPES), st.floats(-1e4, 1e4), st.sampled_from(list(METRICS)), st.booleans())
def test_a_model_whose_outputs_agree_is_valid(seed, shape, offset, metric, classes):
    """To 1e-6 of each component's spread, whatever a metric near zero does; ties of logits may flip."""
    rng = np.random.default_rng(seed)
    outputs = mapped(three(rng, shape, 5e-7, between=1e-7), lambda y: y + offset)
    fields = {}
    if classes and len(shape) < 3:
        shape = (*shape, 1)[:2]
        tie = np.repeat(rng.standard_normal((SAMPLES, 1)), shape[1], axis=1) if shape[1] > 1 else np.zeros(shape)
        tie[: SAMPLES // 2] += rng.standard_normal((SAMPLES // 2, shape[1]))
        outputs = {name: tie + 1e-7 * rng.standard_normal(shape) for name in outputs}
        fields = {"labels": rng.integers(0, max(2, shape[1]), SAMPLES)}
    assert verdict(outputs, METRICS[metric], **fields) == "valid"


# The cases that these kinds come from, solved


@pytest.fixture(scope="module")
def rotation():
    """A turn by 2 rad in unit time, of 1,000 starts."""
    turn = np.array([[0.0, -2.0], [2.0, 0.0]])
    return lambda t, y, args: turn @ y, np.random.default_rng(0).standard_normal((1000, 2))


def turned(starts):
    c, s = np.cos(2.0), np.sin(2.0)
    return starts @ np.array([[c, s], [-s, c]])


def of_rotation(rotation, outputs, metric):
    field, _ = rotation

    def predict(solver, batch):
        sol = kx.solve(field, batch, 0.0, 1.0, solver=solver, batch_axis=0)
        return kx.Prediction(outputs(sol.y1), metric(sol.y1), stats=sol.stats)

    return predict


def shifted(y):
    return 300 + 5 * y


def test_an_offset_of_the_outputs_hides_no_error(rotation):
    """MAPE of the truth 300 + 5 y is small for whatever y."""
    exact = shifted(turned(rotation[1]))
    predict = of_rotation(rotation, shifted, lambda y: np.mean(np.abs(shifted(y) - exact) / np.abs(exact)))
    found = certify(predict, OWN, rotation[1], refine=())
    assert found.verdict == "invalid" and "% of the samples deviate by more" in str(found)


@pytest.mark.parametrize(
    ("solver", "expected"),
    [
        (OWN, "invalid"),
        (kx.FixedSteps(kx.tableaus.RK4, 40), "valid"),
        (kx.FixedSteps(kx.tableaus.MIDPOINT, 64), "valid"),
    ],
    ids=str,
)
def test_a_metric_near_zero_is_no_sensitive_field(rotation, solver, expected):
    """The mean squared error of the references is rounding."""
    exact = turned(rotation[1])
    predict = of_rotation(rotation, lambda y: y, lambda y: np.mean((y - exact) ** 2))
    found = certify(predict, solver, rotation[1], refine=())
    assert found.verdict == expected and "sensitive" not in str(found)


def test_a_solve_that_is_thrown_away_shows_nothing(rotation):
    """Its evaluations are counted, and differ; its outputs do not."""
    field, starts = rotation

    def predict(solver, batch):
        sol = kx.solve(field, batch, 0.0, 1.0, solver=solver, batch_axis=0)
        return kx.Prediction(turned(batch), np.mean(batch), stats=sol.stats)

    found = certify(predict, OWN, starts)
    assert found.verdict == "undecided" and "same outputs to the last bit" in found.reasons[0]
    assert len({row.nfe for row in found.rows}) > 1


# What no step must pass over


def pulsed(solver, start):
    """y' = -y + 300 in a pulse of width 0.01, on [0, 1]: it moves the end by 2.9, where the samples lie 1 apart."""

    def field(t, y, args):
        return -y + jnp.where((t >= args) & (t < args + 0.01), 300.0, 0.0)

    sol = kx.solve(field, STARTS, 0.0, 1.0, solver=solver, args=start, batch_axis=0, throw=False)
    return kx.Prediction(sol.y1, jnp.mean(sol.y1), stats=sol.stats, status=sol.status)


STARTS = np.random.default_rng(0).standard_normal((80, 1)).astype(np.float32)


def test_a_pulse_between_all_steps_is_seen():
    """The own solver evaluates the field at multiples of 1/16, and sees none of these pulses.

    A reference that has seen one takes shorter steps, and may pass over it with them: then the two disagree.
    """
    predict, own = eqx.filter_jit(pulsed), kx.FixedSteps(RK4, 8)
    starts = [start for start in np.linspace(0.002, 0.988, 30) if (start * 16) % 1 < 1 - 0.16]
    found = [certify(predict, own, jnp.asarray(start, jnp.float32), refine=()) for start in starts]
    verdicts = [one.verdict for one in found]
    assert "valid" not in verdicts and verdicts.count("invalid") > 0.75 * len(verdicts)
    assert all("no step longer than 1/64 of the interval" in one.rows[1].note for one in found)


def test_a_shorter_pulse_is_seen_with_a_largest_step():
    """Ten times the interval: 0.01 is a thousandth of it."""

    @eqx.filter_jit
    def predict(solver, batch):
        field = lambda t, y, args: jnp.where((t >= 7.003) & (t < 7.013), 300.0, 0.0) - y / 10
        sol = kx.solve(field, batch, 0.0, 10.0, solver=solver, batch_axis=0, throw=False)
        return kx.Prediction(sol.y1, jnp.mean(sol.y1), stats=sol.stats, status=sol.status)

    own, starts = kx.FixedSteps(RK4, 100), STARTS.astype(np.float64)
    assert certify(predict, own, starts, refine=()).verdict == "valid", "it is stepped over: docs/certificate.md"
    assert certify(predict, own, starts, refine=(), max_step=0.01).verdict == "invalid"
    with pytest.raises(kx.errors.UserError, match="max_step must be a number > 0"):
        certify(predict, own, starts, max_step=0.0)
    with pytest.raises(kx.errors.UserError, match="max_step limits the steps of an ODE's references"):
        certify(predict, kx.EulerMaruyama(4), starts, max_step=0.1)


# Units


def test_a_constant_output_is_held_against_its_magnitude():
    """It has no spread; rounding in it is no spread either."""
    for noise in (0.0, 1e-15):
        rng = np.random.default_rng(0)
        near = lambda: 7.0 * (1 + noise * rng.standard_normal((SAMPLES, 1)))  # noqa: B023
        constant = {name: near() for name in ("own", "first", "second")}
        varied = three(rng, (SAMPLES, 2), 1e-4)
        for factor, expected in ((1.01, "valid"), (1.2, "invalid")):
            off = {**constant, "own": factor * constant["own"]}
            assert verdict(off) == expected
            assert verdict({name: np.hstack([varied[name], off[name]]) for name in off}) == expected


def test_times_share_the_spread_of_their_component():
    """All samples start at one point, and all end at another: what is off by 5 % of the way between counts."""
    t = np.linspace(0, 1, 11)[None, :, None]
    ends = np.random.default_rng(0).standard_normal((SAMPLES, 1, 2))
    exact = np.exp(-20 * t) + t * (1 - t) * ends
    spread = exact.std(axis=(0, 1))
    for error, expected in ((0.04, "valid"), (0.06, "invalid")):
        own = exact + error * spread * (t == 1)
        assert verdict({"own": own, "first": exact, "second": exact + 1e-9}) == expected


def test_outputs_that_do_not_count_change_nothing():
    rng = np.random.default_rng(0)
    for error, expected in ((0.03, "valid"), (0.3, "invalid")):
        outputs = three(rng, (SAMPLES, 5, 2), error)
        mask = rng.random((SAMPLES, 5, 2)) < 0.1
        mask[:, 0] = True
        rubbish = {name: np.where(mask, y, 1e3 * rng.standard_normal(y.shape)) for name, y in outputs.items()}
        rubbish["own"] = np.where(mask, rubbish["own"], np.nan)
        assert verdict(rubbish, mask=mask) == expected


def test_the_scale_of_a_metric_is_a_floor_of_its_changes():
    """An error of 0.026 standard deviations that becomes 0.031, while outputs deviate by 3 %."""
    outputs = three(np.random.default_rng(0), (SAMPLES, 2), 0.03)
    predict = of_outputs(outputs, lambda name: 0.026 if name == "own" else 0.031)
    assert certify(predict, OWN, None, refine=()).verdict == "invalid"
    assert certify(predict, OWN, None, refine=(), metric_scale=1.0).verdict == "valid"
    assert certify(predict, OWN, None, refine=(), metric_scale=0.1).verdict == "invalid"
    with pytest.raises(kx.errors.UserError, match="metric_scale must be a number > 0"):
        certify(predict, OWN, None, metric_scale=0.0)


def test_a_log_likelihood_counts_in_nats():
    """Of each sample: outputs that agree say nothing about their densities."""
    outputs = three(np.random.default_rng(0), (SAMPLES, 2), 1e-4)
    for away, expected in ((0.004, "valid"), (0.2, "invalid")):

        def predict(solver, batch, away=away):
            change = away * (kind(solver) == "own") * np.where(np.arange(SAMPLES) % 2, 1.0, -1.0)
            nll = 1e-3 + change
            return kx.Prediction(outputs[kind(solver)], nll.mean(), nll=nll)

        assert certify(predict, OWN, None, refine=()).verdict == expected

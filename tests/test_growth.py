"""Growth rates against closed forms, Liouville's formula and known exponents; wrong signs in certificates."""

import jax.numpy as jnp
import numpy as np
import pytest
from slowness import slow

import kuttax as kx
from kuttax.errors import UserError
from kuttax.validity import certify

RK4, EULER, MIDPOINT = kx.tableaus.RK4, kx.tableaus.EULER, kx.tableaus.MIDPOINT
EXACT = kx.Adaptive(kx.tableaus.DOPRI5, rtol=1e-10, atol=1e-10)
DECAY, TURN = -0.05, 1.5
STEP = {EULER: 1, MIDPOINT: 2, RK4: 4}


def rotation(t, y, args):
    rate, turn = args
    return jnp.stack([rate * y[0] - turn * y[1], turn * y[0] + rate * y[1]])


@pytest.fixture
def starts(rng):
    return rng.standard_normal((70, 2))


def stability(order, z):
    return sum(z**k / np.prod(np.arange(1, k + 1), dtype=float) for k in range(order + 1))


@pytest.mark.parametrize("tableau", STEP, ids=lambda tableau: tableau.name)
def test_rates_of_a_scheme_are_those_of_its_stability_function(tableau, starts):
    """A rotation that decays is a normal matrix, so |R(h lambda)| is the factor of every direction."""
    for h in (1.0, 0.25):
        found = kx.growth_rates(
            rotation, starts, h * jnp.arange(5.0), solver=kx.FixedSteps(tableau, 1), args=(DECAY, TURN)
        )
        expected = np.log(abs(stability(STEP[tableau], h * complex(DECAY, TURN)))) / h
        np.testing.assert_allclose(found.rates, expected, atol=1e-12)
        assert found.duration == 4 * h


PER_SAMPLE = kx.Adaptive(kx.tableaus.DOPRI5, rtol=1e-10, atol=1e-10, control="per_sample")


@pytest.mark.parametrize("solver", [EXACT, slow(kx.FixedSteps(RK4, 64)), slow(PER_SAMPLE)], ids=str)
def test_rates_of_the_exact_flow_are_the_real_parts(solver, starts):
    found = kx.growth_rates(rotation, starts, jnp.arange(4.0), solver=solver, args=(DECAY, TURN))
    np.testing.assert_allclose(found.rates, DECAY, atol=2e-8)
    assert found.status == 0


def test_rates_are_in_order_and_the_largest_are_kept(starts):
    values = jnp.array([-1.0, 0.5, -0.2, 0.1])
    found = kx.growth_rates(lambda t, y, args: values * y, np.zeros((3, 4)), jnp.arange(3.0), solver=EXACT, most=3)
    np.testing.assert_allclose(found.rates, np.tile(np.sort(values[:3])[::-1], (3, 1)), atol=1e-8)


@pytest.mark.parametrize("name", ["pendulum", slow("van der Pol")])
def test_the_sum_of_all_rates_is_the_mean_divergence(name, starts):
    """Liouville's formula."""
    if name == "pendulum":
        field, divergence = lambda t, y, args: jnp.stack([y[1], -9.81 * jnp.sin(y[0]) - 0.3 * y[1]]), None
    else:
        field = lambda t, y, args: jnp.stack([y[1], 2.0 * (1.0 - y[0] ** 2) * y[1] - y[0]])
        ts = np.linspace(0, 4, 4001)
        path = kx.solve(field, starts, 0.0, 4.0, solver=EXACT, batch_axis=0, ts=ts).ys[..., 0]
        divergence = np.trapezoid(2.0 * (1.0 - path**2), ts, axis=0) / 4.0
    found = kx.growth_rates(field, starts, jnp.linspace(0.0, 4.0, 9), solver=EXACT)
    expected = -0.3 if divergence is None else divergence
    np.testing.assert_allclose(found.rates.sum(axis=1), expected, atol=1e-5)
    np.testing.assert_allclose(found.volume, expected, atol=1e-5)


@pytest.mark.slow
def test_the_largest_rates_of_lorenz_are_the_known_ones():
    """0.9056, 0 and -14.572 (Sprott 2003), whose spread over 100 time units is a few hundredths."""
    field = lambda t, y, args: jnp.stack([10 * (y[1] - y[0]), y[0] * (28 - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]])
    y0 = np.array([-5.0, -6.0, 22.0]) + np.random.default_rng(0).standard_normal((20, 3))
    y0 = kx.solve(field, y0, 0.0, 5.0, solver=kx.FixedSteps(RK4, 1000), batch_axis=0).y1
    found = kx.growth_rates(field, y0, jnp.arange(0.0, 100.1, 0.5), solver=kx.FixedSteps(RK4, 50))
    np.testing.assert_allclose(found.rates.mean(axis=0), [0.9056, 0.0, -14.572], atol=0.03)


# What a certificate says


def certified(field, own, y0, args=None, times=4):
    ts = np.arange(times + 1.0)

    def predict(solver, batch):
        sol = kx.solve(field, batch, 0.0, ts[-1], solver=solver, batch_axis=0, ts=ts, args=args, throw=False)
        outputs = jnp.swapaxes(sol.ys, 0, 1)[:, 1:]
        return kx.Prediction(outputs, jnp.mean(outputs**2), stats=sol.stats, status=jnp.max(sol.status))

    growth = lambda solver, batch: kx.growth_rates(field, batch, jnp.asarray(ts), solver=solver, args=args)
    return certify(predict, own, y0, growth=growth, refine=())


def learned(order, h=1.0):
    """lambda' of R(h lambda') = exp(h lambda), the root of a polynomial that is nearest to lambda."""
    powers = [1 / np.prod(np.arange(1, k + 1), dtype=float) for k in range(order, -1, -1)]
    powers[-1] -= np.exp(h * complex(DECAY, TURN))
    roots = np.roots(np.array(powers, complex)) / h
    return roots[np.argmin(abs(roots - complex(DECAY, TURN)))]


def test_a_field_that_grows_where_its_solver_decays_is_named(starts):
    """RK4 with steps of 1 solves it as if it decayed (Lu & Tsai 2025, arXiv 2507.14491): +0.0146 for -0.05."""
    found = learned(4)
    assert found.real == pytest.approx(0.0146, abs=1e-4)
    certificate = certified(rotation, kx.FixedSteps(RK4, 1), starts, (found.real, found.imag))
    assert certificate.verdict == "invalid"
    assert certificate.reasons[0].startswith(
        "wrong sign: distances between nearby solutions shrink (-0.05 per unit of time) with FixedSteps"
    )
    assert "but grow (+0.0146 per unit of time) in the field itself" in certificate.reasons[0]
    record = certificate.to_json()
    assert record["growth_time"] == 4
    assert record["rows"][0]["growth"] == {"rates": pytest.approx([DECAY] * 2), "volume": pytest.approx(2 * DECAY)}
    assert record["rows"][-1]["growth"]["rates"] == pytest.approx([found.real] * 2)


@pytest.mark.parametrize(("rate", "turn", "steps"), [slow(-0.05, 1.5, 16), (0.0, 1.5, 16), slow(1e-6, 1.5, 8)], ids=str)
def test_true_signs_and_rates_near_zero_are_not_named(rate, turn, steps, starts):
    """An oscillator without friction has rates of zero; the own solver's are -1e-6, which no one minds."""
    certificate = certified(rotation, kx.FixedSteps(RK4, steps), starts, (rate, turn))
    assert certificate.verdict == "valid"


def test_volumes_tell_where_shear_makes_distances_grow(starts):
    """A pendulum's frequency depends on its amplitude, so distances grow for a while, whatever the friction."""
    step = kx.FixedSteps(RK4, 1)
    pendulum = lambda t, y, args: args[0] * jnp.stack([y[1], -jnp.sin(y[0]) + args[1] * y[1]])
    certificate = certified(pendulum, step, starts, (1.5, 0.02))
    (_, own), (_, field) = ((r.growth.rates.mean(0), r.growth.volume.mean()) for r in certificate.rows[:2])
    assert own < 0 < field == pytest.approx(1.5 * 0.02, abs=1e-5)
    assert certificate.verdict == "invalid"
    assert certificate.reasons[0].startswith("wrong sign: volumes of sets of nearby solutions shrink (-")


def test_a_rest_that_repels_is_found_where_most_trajectories_are_damped(starts):
    """The damping depends on the amplitude: volumes grow at a rate of 1.5 (0.02 - 0.05 x^2), so only near the rest."""
    step = kx.FixedSteps(RK4, 1)
    field = lambda t, y, args: 1.5 * jnp.stack([y[1], -y[0] + (0.02 - 0.05 * y[0] ** 2) * y[1]])
    certificate = certified(field, step, starts)
    own, reference = (row.growth.volume for row in certificate.rows[:2])
    assert own.mean() < 0 and reference.mean() < 0  # on average the sign is right
    near = np.abs(starts).max(1) < 0.4
    assert near.any() and (own[near] < 0).all() and (reference[near] > 0).all()
    assert certificate.reasons[0].startswith("wrong sign: volumes of sets of nearby solutions shrink (-")
    assert certificate.reasons[0].endswith("% of the trajectories")


def cycle(t, y, gain):
    """A rest at the origin that repels at the rate `gain`, and a circle that attracts."""
    pull = gain * (1 - y @ y)
    return jnp.stack([pull * y[0] - 1.5 * y[1], 1.5 * y[0] + pull * y[1]])


def test_the_rests_of_a_field_and_the_rates_close_to_them(starts):
    """The same rests for every solver; close to the origin Euler's rate is log |1 + h lambda| / h."""
    ring = starts / np.linalg.norm(starts, axis=1, keepdims=True)
    for solver, rate in ((kx.FixedSteps(EULER, 1), np.log(abs(1 + (0.25 + 1.5j)))), (EXACT, 0.25)):
        found = kx.growth_rates(cycle, ring, jnp.arange(3.0), solver=solver, args=0.25, near=ring).rests
        there = np.isfinite(np.asarray(found.states)).all(1)
        assert there.sum() > 10
        np.testing.assert_allclose(found.states[there], 0, atol=1e-6)
        largest = np.log(np.abs(np.linalg.eigvals(found.maps[there])).max(1)) / found.interval
        np.testing.assert_allclose(largest, rate, atol=1e-5)
    nowhere = kx.growth_rates(lambda t, y, a: jnp.ones_like(y), ring, jnp.arange(2.0), solver=EXACT, near=ring)
    assert np.isnan(nowhere.rests.states).all()


def test_a_rest_with_the_wrong_sign_is_a_reason_of_an_invalid_model_only(starts):
    ring, ts = starts / np.linalg.norm(starts, axis=1, keepdims=True), jnp.arange(5.0)
    growth = lambda solver, batch: kx.growth_rates(cycle, batch, ts, solver=solver, args=0.02, near=batch)
    step = kx.FixedSteps(RK4, 1)  # |R(0.02 + 1.5i)| < 1: with it the rest attracts

    def verdict(scale):
        def predict(solver, batch):
            sol = kx.solve(cycle, batch, 0.0, 4.0, solver=solver, batch_axis=0, ts=ts, args=0.02, throw=False)
            outputs = jnp.concatenate([batch + scale * sol.y1, batch], axis=1)
            return kx.Prediction(outputs, jnp.mean(outputs**2), stats=sol.stats, status=jnp.max(sol.status))

        return certify(predict, step, ring, growth=growth, refine=())

    assert "approach (-0.0" in (reason := verdict(1.0).reasons[0]) and "but leave (+0.02 per unit of time) it" in reason
    assert verdict(1e-9).verdict == "valid"


def test_a_solver_that_growth_does_not_take_says_nothing(starts):
    def growth(solver, batch):
        raise UserError("not this one")

    predict = lambda solver, batch: kx.Prediction(
        sol := kx.solve(rotation, batch, 0.0, 1.0, solver=solver, batch_axis=0, args=(DECAY, TURN)).y1, jnp.mean(sol)
    )
    certificate = certify(predict, kx.FixedSteps(RK4, 16), starts, growth=growth, refine=())
    assert certificate.verdict == "valid"
    assert all(row.growth is None for row in certificate.rows)


@pytest.mark.parametrize(
    ("y0", "ts", "says"),
    [
        (np.ones(3), [0.0, 1.0], "starts of shape"),
        (np.ones((3, 2)), [0.0], "at least two times"),
        ((np.ones((3, 2)),), [0.0, 1.0], "one array"),
    ],
)
def test_mistakes_are_told_in_one_line(y0, ts, says):
    with pytest.raises(UserError, match=says):
        kx.growth_rates(lambda t, y, args: -y, y0, jnp.array(ts), solver=EXACT)


def test_growth_of_another_kind_is_refused(starts):
    predict = lambda solver, batch: kx.Prediction(
        sol := kx.solve(rotation, batch, 0.0, 1.0, solver=solver, batch_axis=0, args=(DECAY, TURN)).y1, jnp.mean(sol)
    )
    with pytest.raises(UserError, match=r"growth must return kx\.growth_rates"):
        certify(predict, kx.FixedSteps(RK4, 16), starts, growth=lambda solver, batch: 3.0, refine=())

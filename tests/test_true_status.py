"""`ok` means that every number is there and finite, and what failed hands back nothing that looks right."""

import dataclasses
import math

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from slowness import mostly_slow, slow

import kuttax as kx
from kuttax.errors import UserError
from kuttax.solvers.rk.tableaus import DOPRI5, DOPRI8, MIDPOINT, RK4, TSIT5

PAIR = kx.Adaptive(DOPRI5, 1e-5, 1e-5)
THEIRS = kx.FromDiffrax(diffrax.Tsit5(), 1e-5, 1e-5)
F32 = jnp.ones(1, jnp.float32)


def quiet(field, y0, t1, **options):
    return kx.solve(field, y0, 0.0, t1, throw=False, **options)


@pytest.mark.parametrize("solver", [PAIR, kx.FixedSteps(RK4, 10), slow(THEIRS)], ids=["adaptive", "fixed", "diffrax"])
def test_a_result_beyond_the_largest_number(solver):
    """y = 1e18 t^3 / 3 is 3e41 at the end."""
    sol = quiet(lambda t, y, args: 1e18 * t * t * jnp.ones_like(y), 0 * F32, 1e8, solver=solver, ts=[1.0, 1e8])
    assert sol.status != kx.Status.ok
    assert np.isnan(sol.y1).all()
    assert not np.isfinite(sol.ys[1]).any()


def edge(t, y, args):
    """y' = 1, and no number from t = 1 on."""
    return jnp.where(t < 1, jnp.ones_like(y), jnp.nan)


@pytest.mark.parametrize("tableau", [MIDPOINT, DOPRI5, DOPRI8], ids=lambda x: x.name)
def test_outputs_before_the_field_ends(tableau):
    """What was reached is right, the rest is NaN, and the status says that there is a rest."""
    ts = np.array([0.5, 0.95, 0.99, 1.0])
    sol = quiet(edge, 0 * F32, 1.0, solver=kx.Adaptive(tableau, 1e-5, 1e-5), ts=ts)
    assert sol.status in (kx.Status.non_finite, kx.Status.step_underflow)
    np.testing.assert_allclose(sol.ys[:3, 0], ts[:3], rtol=1e-5)
    assert np.isnan(sol.ys[3]).all()
    assert np.isnan(sol.y1).all()


@pytest.mark.parametrize("solver", [THEIRS, kx.FromDiffrax(diffrax.Heun(), steps=3)], ids=["adaptive", "fixed"])
def test_outputs_of_diffrax(solver):
    sol = quiet(edge, 0 * F32, 1.0, solver=solver, ts=[0.5, 1.0])
    assert sol.status != kx.Status.ok
    reached = np.isfinite(np.asarray(sol.ys))
    assert np.isnan(np.asarray(sol.ys)[~reached]).all()
    np.testing.assert_allclose(np.asarray(sol.ys)[reached], np.array([[0.5], [1.0]])[reached], rtol=1e-5)


def test_one_sample_fails_alone():
    field = lambda t, y, args: jnp.where(y > 2, jnp.inf, y)
    solver = kx.Adaptive(DOPRI5, 1e-5, 1e-5, control="per_sample")
    sol = quiet(field, jnp.array([[0.1], [1.0]]), 1.0, solver=solver, batch_axis=0, ts=[0.5, 1.0])
    np.testing.assert_array_equal(sol.status == kx.Status.ok, [True, False])
    np.testing.assert_allclose(sol.y1[0], 0.1 * math.e, rtol=1e-4)
    np.testing.assert_allclose(sol.ys[0, :, 0], np.array([0.1, 1.0]) * math.exp(0.5), rtol=1e-4)
    assert np.isnan(sol.y1[1]).all()
    assert np.isnan(sol.ys[1, 1]).all()


def test_a_penalty_beyond_the_largest_number():
    """|f|^2 of a slope of 1e25 overflows float32; the state does not."""
    fast = lambda t, y, args: jnp.full_like(y, 1e25)
    sol = quiet(fast, F32, 1.0, solver=kx.FixedSteps(RK4, 2), penalty=kx.penalties.Kinetic())
    assert sol.status == kx.Status.non_finite
    assert np.isnan(sol.penalty)


def test_useless_solves_hand_back_nothing():
    learned = dataclasses.replace(kx.LearnedRK.from_tableau(RK4, steps=2, order=3), logits=jnp.full(2, jnp.nan))
    sol = quiet(lambda t, y, args: -y, F32, 1.0, solver=learned, ts=[0.5])
    assert sol.status != kx.Status.ok
    assert np.isnan(sol.y1).all() and np.isnan(sol.ys).all()
    run = jax.jit(lambda ts: quiet(lambda t, y, args: -y, F32, 1.0, solver=PAIR, ts=ts))
    sol = run(jnp.array([0.9, 0.5], jnp.float32))
    assert sol.status == kx.Status.unordered_times
    assert np.isnan(sol.ys).all()


@pytest.mark.parametrize("solver", mostly_slow([PAIR, THEIRS]), ids=["adaptive", "diffrax"])
def test_a_trial_step_out_of_the_domain(solver):
    """sqrt(y2)' = -1/2: the first trial makes y2 negative, where the field is NaN."""
    field = lambda t, y, args: jnp.stack([jnp.zeros_like(t), -jnp.sqrt(y[1])])
    sol = kx.solve(field, jnp.array([1.0, 1e-3], jnp.float32), 0.0, 0.05, solver=solver)
    np.testing.assert_allclose(sol.y1, [1, (math.sqrt(1e-3) - 0.025) ** 2], atol=5e-5)


def test_a_blow_up_ends_soon():
    """y = 1 / (1 - t): accepted steps shrink with what is left until they no longer get ahead."""
    for dtype in (np.float32, np.float64):
        sol = quiet(lambda t, y, args: y * y, jnp.ones(1, dtype), 2.0, solver=PAIR, max_steps=4096)
        assert sol.status in (kx.Status.step_underflow, kx.Status.non_finite)
        assert sol.stats.accepted + sol.stats.rejected < 500


# States, tolerances and times of any size.


@pytest.mark.parametrize("solver", mostly_slow([PAIR, THEIRS]), ids=["adaptive", "diffrax"])
@pytest.mark.parametrize("size", [1e-30, 1e20, 1e30])
def test_states_of_any_size(solver, size):
    sized = dataclasses.replace(solver, atol=1e-5 * size)
    sol = kx.solve(lambda t, y, args: -y / 2, size * F32, 0.0, 1.0, solver=sized)
    np.testing.assert_allclose(sol.y1 / size, math.exp(-0.5), rtol=1e-4)


@pytest.mark.parametrize("unit", [1e-14, 1e14])
def test_times_of_any_size(unit):
    solver = kx.Adaptive(TSIT5, 1e-6, 1e-6)
    sol = kx.solve(lambda t, y, args: -y / unit, F32, 0.0, unit, solver=solver)
    np.testing.assert_allclose(sol.y1, math.exp(-1), rtol=1e-5)
    assert sol.stats.accepted < 20


@pytest.mark.slow
def test_no_absolute_tolerance():
    """A component that is zero has no error, and holds nothing up."""
    field = lambda t, y, args: jnp.stack([jnp.zeros_like(t), -y[1]])
    own = [kx.Adaptive(DOPRI5, 1e-5, 0.0, control=control) for control in ("joint", "per_sample")]
    theirs = [kx.FromDiffrax(kind(), 1e-5, 0.0) for kind in (diffrax.Tsit5, diffrax.Dopri8)]
    for solver in own + theirs:
        batch = solver is own[1]
        y0 = jnp.array([[0.0, 1.0]], jnp.float32) if batch else jnp.array([0.0, 1.0], jnp.float32)
        sol = kx.solve(field, y0, 0.0, 1.0, solver=solver, batch_axis=0 if batch else None)
        np.testing.assert_allclose(np.ravel(sol.y1), [0, math.exp(-1)], rtol=1e-4)


@pytest.mark.slow
def test_no_absolute_tolerance_for_implicit_solvers():
    """Their root finders divide by the size of a slope, which is zero at rest."""
    with pytest.raises(UserError, match=r"an implicit solver finds its stages .* give an atol > 0"):
        kx.FromDiffrax(diffrax.Kvaerno5(), 1e-4, 0.0)


@pytest.mark.slow
def test_diffrax_gives_up_soon():
    """A field that is NaN at the start, and one that has a wall: not after 4,096 attempts."""
    nowhere = lambda t, y, args: jnp.full_like(y, jnp.nan)
    for field, status in ((nowhere, kx.Status.non_finite), (edge, kx.Status.non_finite)):
        sol = quiet(field, 0 * F32, 2.0, solver=THEIRS)
        assert sol.status == status
        assert sol.stats.accepted + sol.stats.rejected < 300


# Features that are shorter than a step.


def pulse(t, y, args):
    return -y + jnp.where((t >= 7) & (t <= 7.01), 100.0, 0.0)


PULSED = 100 * (1 - math.exp(-0.01)) * math.exp(-2.99)


@pytest.mark.parametrize("ts", [None, (7.0, 7.01, 10.0)], ids=["end", "outputs"])
def test_a_largest_step_finds_a_pulse(ts):
    """A step is as long as its error allows, and a pulse of 0.01 lies between the stages of a long one."""
    y0 = jnp.zeros(1)
    for limited in (
        kx.Adaptive(DOPRI5, 1e-6, 1e-6, max_step=5e-3),
        kx.FromDiffrax(diffrax.Dopri5(), 1e-6, 1e-6, max_step=5e-3),
    ):
        sol = kx.solve(pulse, y0, 0.0, 10.0, solver=limited, ts=ts, max_steps=10_000)
        np.testing.assert_allclose(sol.y1, PULSED, rtol=1e-3)
        assert sol.stats.accepted >= 2000


def test_a_largest_step_holds():
    seen = kx.solve(lambda t, y, args: 0 * y, jnp.ones(1), 0.0, 1.0, solver=kx.Adaptive(DOPRI5, max_step=0.1))
    assert 10 <= seen.stats.accepted <= 17  # from a first step of 1e-6 to tenths
    assert "max_step=0.1" in str(kx.Adaptive(DOPRI5, max_step=0.1))
    for bad in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(UserError, match="max_step must be a number > 0"):
            kx.Adaptive(DOPRI5, max_step=bad)
    with pytest.raises(UserError, match="max_step limits steps that the tolerances choose"):
        kx.FromDiffrax(diffrax.Tsit5(), steps=3, max_step=0.1)


@pytest.mark.parametrize(
    ("name", "value"), [("factor_min", 2.0), ("factor_min", 1.0), ("safety", 1.5), ("factor_max", 0.5), ("icoeff", 0.0)]
)
def test_control_that_cannot_work(name, value):
    with pytest.raises(UserError, match=f"{name} must be a number"):
        kx.Adaptive(DOPRI5, **{name: value})

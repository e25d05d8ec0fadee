"""Time counts from t0: late starts, times that rounding has moved, and intervals that a dtype cannot hold."""

import math

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from slowness import mostly_slow

import kuttax as kx
from kuttax.errors import UserError
from kuttax.solvers.rk.tableaus import DOPRI5, RK4

F32 = jnp.ones(1, jnp.float32)
ADAPTIVE = kx.Adaptive(DOPRI5, 1e-5, 1e-5)
ALL = {
    "adaptive": ADAPTIVE,
    "fixed": kx.FixedSteps(RK4, 20),
    "learned": kx.LearnedRK.from_tableau(RK4, steps=20),
    "reversible": kx.Reversible(kx.FixedSteps(RK4, 20)),
    "diffrax": kx.FromDiffrax(diffrax.Tsit5(), 1e-5, 1e-5),
    "diffrax, steps": kx.FromDiffrax(diffrax.Tsit5(), steps=20),
}


def decay(t, y, args):
    return -y / 60


def wave(t, y, args):
    return jnp.cos(t) * jnp.ones_like(y)


@pytest.mark.parametrize("name", ALL)
def test_a_late_start_loses_nothing(name):
    """Seconds since 1970, in float32, which has no number between 1.7e9 and 1.7e9 + 128."""
    sol = kx.solve(decay, F32, 1.7e9, 1.7e9 + 60, ts=1.7e9 + np.array([15.0, 60.0]), solver=ALL[name])
    np.testing.assert_allclose(sol.y1, math.exp(-1), rtol=5e-5)
    np.testing.assert_allclose(sol.ys[:, 0], np.exp([-0.25, -1]), rtol=5e-5)


def test_a_late_start_inside_a_compiled_function():
    run = jax.jit(lambda y0: kx.solve(decay, y0, 1.7e9, 1.7e9 + 60, solver=ADAPTIVE).y1)
    np.testing.assert_allclose(run(F32), math.exp(-1), rtol=5e-5)


def test_steps_have_a_floor_relative_to_what_has_elapsed():
    """From 5000 to 5010 float32's own resolution is 5e-4: longer than the first step."""
    sol = kx.solve(lambda t, y, args: 1 - y, 0 * F32, 5000.0, 5010.0, solver=ADAPTIVE)
    np.testing.assert_allclose(sol.y1, 1 - math.exp(-10), rtol=1e-4)
    assert sol.stats.accepted < 25


def test_a_field_of_time_needs_times_that_differ():
    for late in (1.7e9, -1e6):
        with pytest.raises(UserError, match=r"the field depends on t, and float32 has only .* different times"):
            kx.solve(wave, F32, late, late + 10, solver=ADAPTIVE)
    sol = kx.solve(wave, 0 * F32, 5000.0, 5010.0, solver=kx.FixedSteps(RK4, 200))
    np.testing.assert_allclose(sol.y1, math.sin(5010) - math.sin(5000), atol=2e-3)
    y0 = jnp.zeros(1)  # float64
    sol = kx.solve(wave, y0, 1.7e9, 1.7e9 + 10, solver=kx.FixedSteps(RK4, 200))
    np.testing.assert_allclose(sol.y1, math.sin(1.7e9 + 10) - math.sin(1.7e9), atol=1e-5)


def test_a_field_of_time_needs_times_that_differ_where_they_are_traced():
    def run(field, t0, t1):
        return kx.solve(field, 0 * F32, t0, t1, solver=ADAPTIVE, ts=(t0 + t1)[None] / 2, throw=False)

    late, early = jnp.array([1e6, 1e6 + 10], jnp.float32), jnp.array([5.0, 15.0], jnp.float32)
    sol = jax.jit(lambda t: run(wave, *t))(late)
    assert sol.status == kx.Status.coarse_time
    assert np.isnan(sol.y1).all() and np.isnan(sol.ys).all()
    sol = jax.jit(lambda t: run(wave, *t))(early)
    np.testing.assert_allclose(sol.y1, math.sin(15) - math.sin(5), atol=1e-4)
    assert jax.jit(lambda t: run(decay, *t))(late).status == kx.Status.ok


def test_half_precision_has_fewer_times():
    """float16 counts in fours at 5,000; at 100 its times are as fine as its states are on [100, 102]."""

    def shifted(t, y, args):
        return jax.lax.cond(y[0] > -9, lambda: jnp.cos(t - args), lambda: -t) * jnp.ones_like(y)

    for dtype in (jnp.float16, jnp.bfloat16):
        y0, solver = jnp.zeros(1, dtype), kx.FixedSteps(RK4, 100)
        with pytest.raises(UserError, match=rf"the field depends on t, and {y0.dtype} has only"):
            kx.solve(shifted, y0, 5000.0, 5010.0, solver=solver, args=jnp.asarray(5000, dtype))
    sol = kx.solve(shifted, jnp.zeros(1, jnp.float16), 100.0, 102.0, solver=solver, args=jnp.asarray(100, jnp.float16))
    np.testing.assert_allclose(np.asarray(sol.y1, float), math.sin(2), atol=0.03)


def test_times_beyond_half_precision():
    """float16 ends at 65,504; a field that does not depend on time does not mind."""
    sol = kx.solve(decay, jnp.ones(1, jnp.float16), 1.7e9, 1.7e9 + 60, solver=ALL["fixed"])
    np.testing.assert_allclose(np.asarray(sol.y1, float), math.exp(-1), rtol=1e-3)
    with pytest.raises(UserError, match="float16 has only 0 different times"):
        kx.solve(wave, jnp.ones(1, jnp.float16), 1.7e9, 1.7e9 + 60, solver=ALL["fixed"])


def test_the_field_sees_the_users_time():
    for solver in ALL.values():
        sol = kx.solve(lambda t, y, args: 2 * t * jnp.ones_like(y), jnp.zeros(1), 3.0, 5.0, solver=solver)
        np.testing.assert_allclose(sol.y1, 25 - 9, rtol=1e-6)


# Output times.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["adaptive", "fixed"])
def test_times_that_rounding_has_moved(name, dtype):
    """0.1 * 3 is above 0.3, and 1 - 0.9 below 0.1: they are meant to be the ends, and no sliver is crossed."""
    y0 = jnp.ones(1, dtype)
    sol = kx.solve(decay, y0, 0.0, 0.3, ts=0.1 * np.arange(4), solver=ALL[name])
    np.testing.assert_allclose(sol.ys[:, 0], np.exp(-0.1 * np.arange(4) / 60), rtol=1e-5)
    if name == "fixed":
        assert sol.stats.accepted == 3 * 20
    sol = kx.solve(decay, y0, 0.1, 0.5, ts=np.array([1 - 0.9, 0.3]), solver=ALL[name])
    np.testing.assert_allclose(sol.ys[0], 1, rtol=1e-6)
    mixed = kx.solve(decay, y0, 0.0, 0.3, ts=np.float32(0.1) * np.arange(4, dtype=np.float32), solver=ALL[name])
    np.testing.assert_allclose(mixed.ys[-1], math.exp(-0.3 / 60), rtol=1e-5)


def test_times_that_rounding_has_moved_where_they_are_traced():
    run = jax.jit(lambda ts: kx.solve(decay, jnp.ones(1), 0.0, 0.3, ts=ts, solver=ADAPTIVE).ys)
    np.testing.assert_allclose(run(0.1 * jnp.arange(4.0))[:, 0], np.exp(-0.1 * np.arange(4) / 60), rtol=1e-5)


def test_refusals_show_all_digits():
    with pytest.raises(UserError, match=r"got t0=0\.0, t1=0\.3, ts=\[0\.0 0\.30000001\]"):
        kx.solve(decay, jnp.ones(1), 0.0, 0.3, ts=[0.0, 0.30000001], solver=ADAPTIVE)


def test_an_interval_that_the_dtype_cannot_hold():
    for t1 in (1e-60, 1e60):
        with pytest.raises(UserError, match=r"float32 cannot hold the interval from t0=0\.0 to t1="):
            kx.solve(decay, F32, 0.0, t1, solver=ADAPTIVE)
    for t1, message in (
        ("soon", "t1 must be a real number"),
        (1j, "t1 must be a real number"),
        (None, "t1=None means the last output time, and there is none"),
    ):
        with pytest.raises(UserError, match=message):
            kx.solve(decay, F32, 0.0, t1, solver=ADAPTIVE)


# Derivatives in times, against the closed form y1 = exp(-(t1 - t0)).


@pytest.mark.parametrize("t0", mostly_slow([0.0, 3.0]))
@pytest.mark.parametrize("name", mostly_slow(ALL, "adaptive", "fixed"))
def test_derivatives_in_the_ends(name, t0):
    def end(times):
        return kx.solve(lambda t, y, args: -y, jnp.ones(1), times[0], times[1], solver=ALL[name]).y1[0]

    np.testing.assert_allclose(jax.grad(end)(jnp.array([t0, t0 + 1])), [math.exp(-1), -math.exp(-1)], rtol=1e-4)
    np.testing.assert_allclose(jax.grad(end)(jnp.array([t0, t0])), [1, -1], rtol=1e-6)


@pytest.mark.slow
def test_derivatives_of_outputs_on_an_empty_interval():
    def outputs(ts):
        return kx.solve(lambda t, y, args: -y, jnp.ones(1), 0.0, 0.0, ts=ts, solver=ALL["diffrax"]).ys[:, 0]

    np.testing.assert_allclose(jax.jacrev(outputs)(jnp.zeros(2)), -np.eye(2))

"""A solve does not depend on where time starts, nor on the units of time and state."""

import dataclasses

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slowness import mostly_slow

import kuttax as kx
from kuttax.solvers.rk.tableaus import ALL, BOSH3, DOPRI5, DOPRI8, RK4, TSIT5

SOLVERS = {
    **{f"adaptive, {tableau.name}": kx.Adaptive(tableau, 1e-4, 1e-5) for tableau in (BOSH3, DOPRI5, TSIT5, DOPRI8)},
    "adaptive, per sample": kx.Adaptive(DOPRI5, 1e-4, 1e-5, control="per_sample"),
    "fixed": kx.FixedSteps(RK4, 7),
    "learned": kx.LearnedRK.from_tableau(ALL["ralston2"], steps=7, learn_steps=True),
    "reversible": kx.Reversible(kx.FixedSteps(RK4, 7)),
    "diffrax": kx.FromDiffrax(diffrax.Tsit5(), 1e-4, 1e-5),
    "diffrax, implicit": kx.FromDiffrax(diffrax.Kvaerno3(), 1e-4, 1e-5),
    "noise": kx.EulerMaruyama(7),
}
EACH = pytest.mark.parametrize("name", mostly_slow(SOLVERS, "adaptive, per sample", "fixed", "learned"))
FEW = settings(max_examples=6, deadline=None, derandomize=True)
Y0 = np.array([[1.0, -0.5], [0.3, 2.0]])
SPAN = 3.0


def pendulum(t, y, args):
    """Autonomous and nonlinear: a pendulum whose length is the unit of the state, and its period that of time."""
    size, unit = args
    angle, speed = y[0] / size, y[1] / size
    return jnp.stack([speed, -jnp.sin(angle) - 0.1 * speed]) * (size / unit)


def solved(solver, t0=0.0, t1=SPAN, size=1.0, unit=1.0, dtype=np.float64):
    field = pendulum
    if isinstance(solver, kx.EulerMaruyama):
        field = kx.SDE(pendulum, lambda t, y, args: 0.1 * args[0] * jnp.ones_like(y) / jnp.sqrt(args[1]), "additive")
    args = (jnp.asarray(size, dtype), jnp.asarray(unit, dtype))
    ts = [t0 + (t1 - t0) / 4, t0 + (t1 - t0) / 2]
    return kx.solve(
        field,
        jnp.asarray(size * Y0, dtype),
        t0,
        t1,
        ts=ts,
        solver=solver,
        args=args,
        batch_axis=0,
        key=jax.random.key(0),
    )


def nfe(sol):
    return None if sol.stats.nfe is None else np.asarray(sol.stats.nfe).tolist()


@EACH
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@given(late=st.one_of(st.sampled_from([1.0, 1e3, 1e6, 1e9]), st.integers(0, 10**9).map(float)))
@FEW
def test_where_time_starts(name, dtype, late):
    """All that is known of a time late + t is its float64: half a unit in the last place."""
    solver, noise = SOLVERS[name], np.spacing(late + SPAN)
    base, moved = solved(solver, dtype=dtype), solved(solver, late, late + SPAN, dtype=dtype)
    assert nfe(moved) == nfe(base)
    tol = 20 * noise + 50 * np.finfo(dtype).eps
    np.testing.assert_allclose(moved.y1, base.y1, rtol=0, atol=tol)
    np.testing.assert_allclose(moved.ys, base.ys, rtol=0, atol=tol)


@EACH
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@given(power=st.one_of(st.sampled_from([-99, 99]), st.integers(-99, 99)))
@FEW
def test_the_unit_of_the_state(name, dtype, power):
    """Powers of two from 1e-30 to 1e30: every number is scaled exactly, so that the steps are the same to the bit."""
    solver, size = SOLVERS[name], 2.0**power
    scaled = dataclasses.replace(solver, atol=solver.atol * size) if hasattr(solver, "atol") else solver
    base, other = solved(solver, dtype=dtype), solved(scaled, size=size, dtype=dtype)
    assert nfe(other) == nfe(base)
    np.testing.assert_allclose(np.asarray(other.y1, float) / size, base.y1, rtol=0, atol=100 * np.finfo(dtype).eps)


@EACH
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@given(power=st.one_of(st.sampled_from([-50, 50]), st.integers(-50, 50)))
@FEW
def test_the_unit_of_time(name, dtype, power):
    """From 1e-15 to 1e15."""
    solver, unit = SOLVERS[name], 2.0**power
    base, other = solved(solver, dtype=dtype), solved(solver, t1=unit * SPAN, unit=unit, dtype=dtype)
    assert nfe(other) == nfe(base)
    np.testing.assert_allclose(other.y1, base.y1, rtol=0, atol=100 * np.finfo(dtype).eps)

"""Half precision: the field computes in it, sums are float32's."""

import math

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from slowness import mostly_slow, slow

import kuttax as kx
from kuttax.errors import UserError
from kuttax.solvers.rk.tableaus import DOPRI5, RK4

HALVES = [jnp.float16, jnp.bfloat16]
SOLVERS = {
    "fixed": kx.FixedSteps(RK4, 1000),
    "learned": kx.LearnedRK.from_tableau(RK4, steps=1000),
    "reversible": kx.Reversible(kx.FixedSteps(RK4, 1000), 1.0),
    "adaptive": kx.Adaptive(DOPRI5, 0.07, 0.07, max_step=0.01),
    "diffrax": kx.FromDiffrax(diffrax.Tsit5(), steps=1000),
}


def decay(t, y, args):
    assert t.dtype == y.dtype
    return -y


def wave(t, y, args):
    return jnp.cos(t) * jnp.ones_like(y)


@pytest.mark.parametrize("dtype", mostly_slow(HALVES), ids=["float16", "bfloat16"])
@pytest.mark.parametrize("name", [slow(name) if name == "diffrax" else name for name in SOLVERS])
def test_many_small_steps(name, dtype):
    for field, y0, truth in ((decay, 1.0, math.exp(-1)), (wave, 0.0, math.sin(1))):
        sol = kx.solve(field, jnp.full(1, y0, dtype), 0.0, 1.0, solver=SOLVERS[name], ts=[0.5, 1.0])
        assert sol.y1.dtype == sol.ys.dtype == dtype
        np.testing.assert_allclose(np.asarray(sol.y1, float), truth, rtol=2 * float(jnp.finfo(dtype).eps))


def test_noise():
    """One path whatever the dtype: its sums are float32's."""
    sde = kx.SDE(lambda t, y, args: 0 * y, lambda t, y, args: jnp.full_like(y, 1e-2), "additive")

    def run(dtype):
        y0, solver = jnp.ones(3, dtype), kx.EulerMaruyama(500)
        return kx.solve(sde, y0, 0.0, 1.0, solver=solver, key=jax.random.key(1)).y1

    np.testing.assert_allclose(np.asarray(run(jnp.bfloat16), float), run(jnp.float32), rtol=0.01)


def test_gradients():
    def loss(y0):
        return kx.solve(decay, y0, 0.0, 1.0, solver=SOLVERS["fixed"]).y1.sum()

    gradient = jax.grad(loss)(jnp.ones(2, jnp.bfloat16))
    assert gradient.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(gradient, float), math.exp(-1), rtol=0.02)


def test_penalties_and_samples():
    sol = kx.solve(
        decay,
        jnp.ones((2, 3), jnp.bfloat16),
        0.0,
        1.0,
        solver=SOLVERS["adaptive"],
        batch_axis=0,
        penalty=kx.LocalError() + kx.penalties.Kinetic(),
        key=jax.random.key(0),
    )
    assert sol.penalty.dtype == jnp.bfloat16
    assert np.isfinite(float(sol.penalty))


def test_tolerances_below_what_the_field_carries():
    with pytest.raises(UserError, match="below what bfloat16 can carry"):
        kx.solve(decay, jnp.ones(1, jnp.bfloat16), 0.0, 1.0, solver=kx.Adaptive(DOPRI5, 1e-3, 1e-3))


def test_a_result_beyond_the_dtype():
    """float16 ends at 65,504; float32, in which sums are made, does not."""
    sol = kx.solve(lambda t, y, args: y, jnp.full(1, 6e4, jnp.float16), 0.0, 1.0, solver=SOLVERS["fixed"], throw=False)
    assert sol.status == kx.Status.non_finite
    assert np.isnan(np.asarray(sol.y1, float)).all()

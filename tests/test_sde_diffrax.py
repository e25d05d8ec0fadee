"""diffrax's adaptive SDE solvers inside kx.solve: closed forms on their own path, and what they evaluate."""

import functools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kuttax as kx

SAMPLES = 20
MU, S = 0.5, 0.6


def growth(t, y, args):
    """Geometric Brownian motion, read as Stratonovich: X0 exp(MU t + S W)."""
    return MU * y


def noise(t, y, args):
    return S * y


def falling(t, y, args):
    return -jnp.sin(y)


def matrix(t, y, args):
    return (1 + t) * jnp.array([[0.4, 0.2], [-0.1, 0.5]])


GEOMETRIC = kx.SDE(growth, noise, calculus="stratonovich")
ADDITIVE = kx.SDE(falling, matrix, "additive")


def end_of_path(key):
    """W(1) of diffrax's tree: it is drawn first, whatever the steps and areas."""
    shape = jax.ShapeDtypeStruct((SAMPLES, 2), jnp.float64)
    area = diffrax.SpaceTimeLevyArea
    return diffrax.VirtualBrownianTree(0.0, 1.0, 0.5, shape, key, levy_area=area).evaluate(0.0, 1.0)


def counted(sde):
    calls = {"drift": 0, "diffusion": 0}

    def count(name, function):
        def call(t, y, args):
            jax.debug.callback(lambda _: calls.__setitem__(name, calls[name] + 1), t)  # t: vmapped calls count
            return function(t, y, args)

        return call

    drift, diffusion = count("drift", sde.drift), count("diffusion", sde.diffusion)
    return kx.SDE(drift, diffusion, sde.noise, calculus=sde.calculus), calls


def test_closed_form_and_gradient_under_step_size_control(key):
    """SPaRK: the tolerance holds the error, the path is one, and outputs lie on it; d X1 / dS = W(1) X1."""
    w = np.asarray(end_of_path(key))
    exact = np.exp(MU + S * w)

    @jax.jit
    @functools.partial(jax.grad, has_aux=True, argnums=1)
    def run(tol, s):
        sol = kx.solve(
            kx.SDE(growth, lambda t, y, s: s * y, calculus="stratonovich"),
            jnp.ones((SAMPLES, 2)),
            0.0,
            1.0,
            solver=kx.FromDiffrax(diffrax.SPaRK(), tol, tol, options={"pcoeff": 0.1, "icoeff": 0.3}),
            args=s,
            ts=[0.37, 1.0],
            key=key,
            batch_axis=0,
            max_steps=512,
        )
        return jnp.mean(sol.y1), sol

    (_, coarse), (slope, fine) = (run(tol, jnp.asarray(S)) for tol in (1e-2, 1e-4))
    assert np.abs(fine.y1 - exact).max() < 0.015 < np.abs(coarse.y1 - exact).max() < 0.2
    assert fine.stats.accepted > 2 * coarse.stats.accepted
    np.testing.assert_allclose(slope, np.mean(w * exact), rtol=0.01)
    np.testing.assert_array_equal(fine.ys[1], fine.y1)
    # At 0.37 the two follow one path too: linear interpolation between steps would be off by some sqrt(step).
    assert np.abs(fine.ys[0] - coarse.ys[0]).max() < 0.1


@pytest.mark.slow
def test_additive_noise(key):
    """Two methods, two tolerances, one path: the same end, on the way to which all evaluations are counted."""
    ends = []
    for solver, tol in ((diffrax.ShARK(), 1e-4), (diffrax.SRA1(), 1e-5)):
        sde, calls = counted(ADDITIVE)
        sol = kx.solve(sde, jnp.ones(2), 0.0, 1.0, solver=kx.FromDiffrax(solver, tol, tol), key=key)
        jax.effects_barrier()
        looked = 1  # diffrax differentiates the diffusion in y once, without using the value
        assert (sol.stats.nfe, sol.stats.nfe_diffusion) == (calls["drift"], calls["diffusion"] - looked)
        assert sol.stats.accepted > 10
        ends.append(sol.y1)
    np.testing.assert_allclose(*ends, rtol=0, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("solver", [diffrax.Euler(), diffrax.SlowRK()], ids=lambda solver: type(solver).__name__)
def test_equal_steps(solver, key):
    """Near the closed form, and every evaluation counted."""
    calculus = "ito" if isinstance(solver, diffrax.Euler) else "stratonovich"
    sde, calls = counted(kx.SDE(growth, noise, calculus=calculus))
    sol = kx.solve(sde, jnp.ones((SAMPLES, 2)), 0.0, 1.0, solver=kx.FromDiffrax(solver, steps=64), key=key)
    jax.effects_barrier()
    assert (sol.stats.nfe, sol.stats.nfe_diffusion) == (calls["drift"], calls["diffusion"])
    shift = S**2 / 2 if calculus == "ito" else 0.0
    exact = np.exp(MU - shift + S * np.asarray(end_of_path_without_areas(key) if shift else end_of_path(key)))
    assert np.sqrt(np.mean((sol.y1 - exact) ** 2)) < (0.1 if shift else 0.02)


def end_of_path_without_areas(key):
    """As `end_of_path`, of a tree that has none."""
    shape = jax.ShapeDtypeStruct((SAMPLES, 2), jnp.float64)
    return diffrax.VirtualBrownianTree(0.0, 1.0, 0.5, shape, key).evaluate(0.0, 1.0)


@pytest.mark.slow
def test_a_wrapped_solver(key):
    """HalfSolver gives SlowRK an estimate; what it evaluates is not known."""
    solver = kx.FromDiffrax(diffrax.HalfSolver(diffrax.SlowRK()), 1e-2, 1e-2)
    sol = kx.solve(GEOMETRIC, jnp.ones((SAMPLES, 2)), 0.0, 1.0, solver=solver, key=key)
    assert sol.stats.nfe is None and sol.stats.nfe_diffusion is None
    np.testing.assert_allclose(sol.y1, np.exp(MU + S * np.asarray(end_of_path(key))), rtol=0.02)


@pytest.mark.slow
def test_steps_that_would_be_too_short(key):
    """The tree is made for steps of a given length; shorter ones are refused, not taken wrong. All are counted."""
    sde, calls = counted(GEOMETRIC)
    solver = kx.FromDiffrax(diffrax.SPaRK(), 1e-6, 1e-6)
    sol = kx.solve(sde, jnp.ones(2), 0.0, 1.0, solver=solver, key=key, max_steps=32, throw=False)
    jax.effects_barrier()
    assert sol.status in (kx.Status.step_underflow, kx.Status.max_steps) and np.isnan(sol.y1).all()
    assert (sol.stats.nfe, sol.stats.nfe_diffusion) == (calls["drift"], calls["diffusion"])

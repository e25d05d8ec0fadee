"""diffrax's adaptive SDE solvers inside kx.solve: closed forms on their own path, and what they evaluate."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilation import quick_compilation  # noqa: F401

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


def test_closed_form_under_step_size_control(key):
    """SPaRK: the tolerance holds the error, the path is one, and outputs lie on it."""
    exact = np.exp(MU + S * np.asarray(end_of_path(key)))
    run = jax.jit(
        lambda tol: kx.solve(
            GEOMETRIC,
            jnp.ones((SAMPLES, 2)),
            0.0,
            1.0,
            solver=kx.FromDiffrax(diffrax.SPaRK(), tol, tol, options={"pcoeff": 0.1, "icoeff": 0.3}),
            ts=[0.37, 1.0],
            key=key,
            batch_axis=0,
        )
    )
    coarse, fine = run(1e-2), run(1e-4)
    assert np.abs(fine.y1 - exact).max() < 2e-3 < np.abs(coarse.y1 - exact).max() < 0.1
    assert fine.stats.accepted > 2 * coarse.stats.accepted
    np.testing.assert_array_equal(fine.ys[1], fine.y1)
    # At 0.37 the two follow one path too: linear interpolation between steps would be off by some sqrt(step).
    assert np.abs(fine.ys[0] - coarse.ys[0]).max() < 0.1


@pytest.mark.parametrize("solver", [diffrax.ShARK(), diffrax.SRA1()], ids=lambda solver: type(solver).__name__)
def test_additive_noise(solver, key):
    """Two methods, two tolerances, one path: the same end, on the way to which all evaluations are counted."""
    sde, calls = counted(ADDITIVE)
    solve = lambda tol: kx.solve(  # noqa: E731
        sde, jnp.ones(2), 0.0, 1.0, solver=kx.FromDiffrax(solver, tol, tol), key=key
    )
    sol = solve(1e-4)
    jax.effects_barrier()
    assert (sol.stats.nfe, sol.stats.nfe_diffusion) == (calls["drift"], calls["diffusion"])
    assert sol.stats.accepted > 10
    np.testing.assert_allclose(solve(1e-5).y1, sol.y1, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    "solver", [diffrax.Euler(), diffrax.SlowRK(), diffrax.SPaRK()], ids=lambda solver: type(solver).__name__
)
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


def test_gradient_and_a_wrapped_solver(key):
    """HalfSolver gives SlowRK an estimate; the gradient in args is that of a closed form: dX1/ds = W(1) X1."""
    sde = kx.SDE(growth, lambda t, y, args: args * y, "scalar", calculus="stratonovich")
    solver = kx.FromDiffrax(diffrax.HalfSolver(diffrax.SlowRK()), 1e-3, 1e-3)

    def end(s):
        sol = kx.solve(sde, jnp.ones(1), 0.0, 1.0, solver=solver, args=s, key=key, max_steps=256)
        return sol.y1[0], sol

    slope, sol = jax.grad(end, has_aux=True)(jnp.asarray(S))
    assert sol.stats.nfe is None
    w = (np.log(sol.y1[0]) - MU) / S
    np.testing.assert_allclose(slope, w * sol.y1[0], rtol=1e-2)


def test_steps_that_would_be_too_short():
    """The tree is made for steps of a given length; shorter ones are refused, not taken wrong."""
    solver = kx.FromDiffrax(diffrax.SPaRK(), 1e-6, 1e-6)
    sol = kx.solve(GEOMETRIC, jnp.ones(2), 0.0, 1.0, solver=solver, key=jax.random.key(0), max_steps=32, throw=False)
    assert sol.status in (kx.Status.step_underflow, kx.Status.max_steps) and np.isnan(sol.y1).all()

"""Orders of SDE solvers on a fixed grid, measured against closed forms on the same path."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from sde_problems import ITO, MEAN, MU, PATH_KEY, START, THETA, B, S, diffusion, drift, starts, truth
from slowness import mostly_slow

import kuttax as kx
from kuttax.solvers.base.problem import Problem
from kuttax.solvers.sde.fixed_sde import Draw
from kuttax.solvers.sde.sde import terms_of


def slope(steps, errors):
    """The order that errors show."""
    return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


def mean_at_end(sde, solver):
    """E y1 without sampling: v(y) = y, then `steps` times v(y) <- E v(step(y)), by quadrature over the step's noise."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    weights = np.outer(weights, weights).reshape(-1) / (2 * np.pi)
    grid = np.linspace(-6, 6, 300)
    fill = lambda *x: jnp.asarray(np.stack([np.broadcast_arrays(*x)[0].reshape(-1)] * 3, -1))
    y, w, area = np.sinh(grid)[:, None, None], nodes[:, None], nodes / np.sqrt(12)
    y, w, area = fill(y, w, area), fill(w, y, area), fill(area, y, w)
    h = jnp.asarray(1 / solver.steps)
    terms = terms_of(Problem(sde, y, jnp.asarray(0.0), jnp.asarray(1.0), batched=True))
    step = jax.jit(lambda y: solver.step(terms, jnp.asarray(0.0), y, h, Draw(jnp.sqrt(h), w, w / 2 + area), None))
    ends = np.arcsinh(step(y)).reshape(len(grid), -1, 3)
    v = np.sinh(grid)[:, None] * np.ones(3)
    for _ in range(solver.steps):
        v = np.stack([CubicSpline(grid, v[:, i])(ends[..., i]) @ weights for i in range(3)], -1)
    return np.array([CubicSpline(grid, v[:, i])(np.arcsinh(START[i])) for i in range(3)])


# Strong and weak order. Noise that does not depend on y (Ornstein-Uhlenbeck) spares Euler the half order that it lacks;
# in a linear drift Heun's mean is of order 2, and nothing is left that limits the SRK's strong order to 3/2.
ORDERS = {
    kx.EulerMaruyama: ((0.5, 1.0, 0.5), (1, 1, 1)),
    kx.Milstein: ((1.0, 1.0, 1.0), (1, 1, 1)),
    kx.Platen: ((1.0, 1.0, 1.0), (1, 1, 1)),
    kx.StochasticHeun: ((1.0, 1.0, 1.0), (1, 2, 1)),
    kx.SRK: ((1.5, 2.0, 1.5), (2, 2, 2)),
}
STEPS, SAMPLES = (16, 32, 64), 4000


@pytest.mark.parametrize("kind", mostly_slow(ORDERS), ids=lambda kind: kind.__name__)
def test_measured_strong_and_weak_orders(kind):
    """Weak: of the mean. The Stratonovich scheme solves the Ito equations after the correction of the drift."""
    sde = ITO.to_stratonovich() if kind is kx.StochasticHeun else ITO
    strong, weak = [], []
    for n in STEPS:
        solver = kind(n, refine=STEPS[-1] // n)
        y1 = kx.solve(sde, starts(SAMPLES), 0.0, 1.0, solver=solver, key=PATH_KEY, batch_axis=0).y1
        strong.append(np.sqrt(np.mean((np.asarray(y1) - truth(SAMPLES, STEPS[-1])) ** 2, 0)))
        weak.append(np.abs(mean_at_end(sde, solver) - MEAN))
    np.testing.assert_allclose([slope(STEPS, strong), slope(STEPS, weak)], ORDERS[kind], rtol=0, atol=0.15)


def test_stratonovich_as_it_is_given():
    """The same equations with the drift corrected by hand: g g' / 2 goes, which is S^2 X / 2 in two of them."""

    def corrected(t, y, args):
        x, u, v = y[..., 0], y[..., 1], y[..., 2]
        return jnp.stack([(MU - S**2 / 2) * x, -THETA * u, B * jnp.sqrt(1 + v * v)], -1)

    given = kx.SDE(corrected, diffusion, calculus="stratonovich")
    y = jnp.array([0.7, -0.2, 1.3])
    np.testing.assert_allclose(ITO.to_stratonovich().drift(0.0, y, None), corrected(0.0, y, None), rtol=1e-14)
    np.testing.assert_allclose(given.to_ito().drift(0.0, y, None), drift(0.0, y, None), rtol=1e-14)
    assert given.to_stratonovich() is given
    for sde in (given, ITO):
        y1 = kx.solve(sde, starts(1000), 0.0, 1.0, solver=kx.Milstein(64), key=PATH_KEY).y1
        assert np.sqrt(np.mean((np.asarray(y1) - truth(1000, 64)) ** 2)) < 0.05


@pytest.mark.slow
def test_additive_noise_of_strong_order_three_halves():
    """dX = -sin X dt + (1 + t) G dW with two Wiener processes, against Taylor's scheme in NumPy on the finest cells."""
    matrix, n, cells = 2 * np.array([[0.4, 0.2], [-0.1, 0.5]]), 200, 1024
    sde = kx.SDE(lambda t, y, args: -jnp.sin(y), lambda t, y, args: (1 + t) * jnp.asarray(matrix), "additive")
    y0 = jnp.broadcast_to(jnp.array([1.0, -0.5]), (n, 2))
    path = kx.BrownianPath(PATH_KEY, jax.ShapeDtypeStruct((n, 2), jnp.float64))
    w, mean = (np.asarray(x) @ matrix.T / np.sqrt(cells) for x in jax.jit(jax.vmap(path.increment))(jnp.arange(cells)))
    h, y = 1 / cells, np.asarray(y0)
    for k in range(cells):  # Kloeden & Platen 1992, 10.4: order 3/2
        g, f, bend = 1 + k * h, -np.sin(y), -np.cos(y)
        noise = g * w[k] + h * (w[k] - mean[k]) + h * bend * g * mean[k]
        y = y + h * f + noise + h**2 / 2 * (f * bend - f / 2 * (matrix**2).sum(1) * g**2)
    errors = []
    for steps in (8, 16, 32):
        solver = kx.SRK(steps, refine=cells // steps)
        y1 = kx.solve(sde, y0, 0.0, 1.0, solver=solver, key=PATH_KEY, batch_axis=0).y1
        errors.append(np.sqrt(np.mean((np.asarray(y1) - y) ** 2)))
    assert abs(slope([8, 16, 32], errors) - 1.5) < 0.15


# Learned coefficients.


def apart(rng, scale, **options):
    """A learned solver with its free parameters moved at random."""
    move = lambda x: x + scale * jnp.asarray(rng.normal(size=x.shape))
    return jax.tree.map(move, kx.LearnedSRK.from_tableau(**options))


def strong_error(solver):
    sol = kx.solve(ITO, starts(1000), 0.0, 1.0, solver=solver, key=PATH_KEY)
    return jnp.sqrt(jnp.mean((sol.y1 - truth(1000, 64)) ** 2, 0))


@pytest.mark.slow
def test_learned_scheme_keeps_strong_order_one(rng):
    """Wherever its parameters are."""
    steps, start = (8, 16, 32), apart(rng, 0.2, steps=8)
    errors = [strong_error(dataclasses.replace(start, steps=n, refine=64 // n)) for n in steps]
    assert np.all(slope(steps, errors) > 0.85) and np.all(np.asarray(errors[-1]) > 1e-3)


@pytest.mark.slow
def test_learned_scheme_learns(rng):
    """Its gradient is right along a direction, and steps down it make the strong error smaller."""
    solver = apart(rng, 0.1, steps=4, refine=64 // 4, per_step=True)
    loss = jax.jit(jax.value_and_grad(lambda solver: jnp.log(jnp.sum(strong_error(solver)))))
    first, gradient = loss(solver)
    along = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), solver)
    near = [loss(jax.tree.map(lambda x, v, e=e: x + e * v, solver, along))[0] for e in (1e-5, -1e-5)]
    pairs = zip(jax.tree.leaves(gradient), jax.tree.leaves(along), strict=True)
    np.testing.assert_allclose(sum(jnp.vdot(g, v) for g, v in pairs), (near[0] - near[1]) / 2e-5, rtol=1e-5)
    for _ in range(5):
        size = sum(jnp.vdot(g, g) for g in jax.tree.leaves(gradient))
        solver = jax.tree.map(lambda x, g, size=size: x - 0.05 * g / jnp.sqrt(size), solver, gradient)
        last, gradient = loss(solver)
    assert last < first - 0.1

"""Penalties of SDEs: diffrax's own error estimates, closed forms of the law, states of the path, differences."""

from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from looking import looked

import kuttax as kx
from kuttax.errors import UserError
from kuttax.penalties.local import AbstractLocal
from kuttax.penalties.noisy_step import estimator, read_by
from kuttax.solvers.base.problem import Problem

SHAPE = (4, 3)
ARGS = {"a": jnp.asarray(0.8), "b": jnp.asarray(0.6)}
AREA = diffrax.SpaceTimeLevyArea


def wavy(t, y, args):
    return jnp.sin(args["a"] * y + t)


def loud(t, y, args):
    return args["b"] * jnp.cos(y) + 0.1


STRATONOVICH, ITO = kx.SDE(wavy, loud, calculus="stratonovich"), kx.SDE(wavy, loud)
ADDITIVE = kx.SDE(wavy, lambda t, y, args: (0.1 + t) * args["b"] * jnp.ones(3), "additive")


def terms(t0, t1, finest, key, diffusion=loud):
    """The SDE with diagonal noise of a whole batch, as diffrax's manual has it."""
    path = diffrax.VirtualBrownianTree(t0, t1, finest, jax.ShapeDtypeStruct(SHAPE, jnp.float64), key, levy_area=AREA)
    of_samples = jax.vmap(diffusion, (None, 0, None))
    matrix = lambda t, y, args: lx.DiagonalLinearOperator(of_samples(t, y, args))
    return diffrax.MultiTerm(diffrax.ODETerm(jax.vmap(wavy, (None, 0, None))), diffrax.ControlTerm(matrix, path))


def noise_key(key):
    """What draws the noise of a single penalty's step."""
    return jax.random.split(jax.random.split(jax.random.fold_in(key, np.uint32(2**32 - 1)), 1)[0])[1]


# One step.


def test_error_is_that_of_diffrax(key, rng):
    """Its estimate for the same step on the same noise, of which the path knows nothing."""
    part, y0 = kx.LocalError(transform="plain", steps=3), jnp.asarray(rng.normal(size=SHAPE))
    keys, options = jax.random.split(key, 3), {"solver": kx.EulerMaruyama(4), "args": ARGS, "batch_axis": 0}
    seen = looked(part, keys, ADDITIVE, y0, 0.0, 1.2, **options)
    np.testing.assert_allclose(seen.h, 0.4, rtol=1e-14)

    @jax.jit
    def step(t, end, y, key):
        known = lambda t, y, args: ADDITIVE.diffusion(t, None, args)  # diffrax sees no y in it
        problem = terms(t, end, end - t, noise_key(key), known)
        return diffrax.ShARK().step(problem, t, end, y, ARGS, None, made_jump=False)[:2]

    for one, t, y, cost in zip(keys, seen.t[:, 0], seen.y, seen.cost[:, 0], strict=True):
        y1, estimate = step(jnp.asarray(t), jnp.asarray(t + 0.4), jnp.asarray(y), one)
        scale = 1e-2 + 1e-2 * np.maximum(np.abs(y), np.abs(y1))
        np.testing.assert_allclose(cost, np.sqrt(np.mean((estimate / scale) ** 2)), rtol=1e-9)


@pytest.mark.slow
def test_the_law_of_a_step_by_halves():
    """Euler's two half steps less one whole, of geometric Brownian motion: X (m + s W1) (m + s W2), m = mu h / 2."""
    mu, s, h, n = 0.8, 0.7, 0.5, 40_000
    sde = kx.SDE(lambda t, y, args: mu * y, lambda t, y, args: s * y)
    part = kx.LocalError(transform="plain", steps=1, rtol=1e-30, atol=1.0)  # one step from t0, where X is one
    options: dict[str, Any] = {"solver": kx.EulerMaruyama(1), "batch_axis": 0, "key": jax.random.key(7)}
    found = kx.solve(sde, jnp.ones((n, 1)), 0.0, h, penalty=part, **options)
    np.testing.assert_allclose(found.penalty, (mu * h / 2) ** 2 + s**2 * h / 2, rtol=0.03)


def test_who_takes_the_step():
    """The one that is chosen, the solver's own where it estimates an error, else one that suits the SDE."""
    spark, shark, halves = diffrax.SPaRK(), diffrax.ShARK(), diffrax.HalfSolver(diffrax.Euler())
    own = kx.FromDiffrax(diffrax.SRA1(), 1e-3, 1e-3)
    assert estimator(spark, own, ADDITIVE) is spark
    assert estimator(None, own, ADDITIVE) is own.solver
    assert estimator(None, kx.FromDiffrax(diffrax.SlowRK(), steps=3), STRATONOVICH) == spark
    for sde, expected in ((ADDITIVE, shark), (STRATONOVICH, spark), (ITO, halves)):
        assert estimator(None, kx.EulerMaruyama(2), sde) == expected
    problem = Problem(ITO, jnp.ones(SHAPE), 0.0, 1.0, args=ARGS, batched=True)
    for solver, calculus in ((spark, "stratonovich"), (diffrax.HalfSolver(diffrax.ItoMilstein()), "ito")):
        assert read_by(solver, problem).field.calculus == calculus


GRADIENTS = {
    "the step alone": (ITO, kx.EulerMaruyama(2), kx.LocalError(steps=1)),  # from t0, where no args have moved the state
    "its state too": (STRATONOVICH, kx.StochasticHeun(3), kx.LocalError(through="state")),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_on_a_fixed_path(name, key):
    """The penalty's noise is as fixed as the path's. One forwards, one backwards."""
    sde, solver, penalty = GRADIENTS[name]
    forward, along = name == "the step alone", {"a": jnp.ones(()), "b": jnp.ones(())}

    def value(args):
        adjoint = kx.ForwardMode() if forward else None
        options = {"solver": solver, "args": args, "batch_axis": 0, "adjoint": adjoint, "key": key}
        return kx.solve(sde, jnp.ones(SHAPE), 0.0, 1.1, penalty=penalty, **options).penalty

    run, eps = jax.jit((lambda args: jax.jvp(value, (args,), (along,))) if forward else jax.value_and_grad(value)), 1e-5
    slope = run(ARGS)[1] if forward else sum(run(ARGS)[1].values())
    ends = [run({name: x + e for name, x in ARGS.items()})[0] for e in (eps, -eps)]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2 * eps), rtol=1e-7)


# Where it begins.

WIENER = kx.SDE(lambda t, y, args: jnp.zeros_like(y), lambda t, y, args: jnp.ones_like(y))  # X = W, whatever the steps


class Draws(kx.AbstractPenalty):
    """What `part` picks, in its row of a matrix of zeros, with draws of its own: on one path, for many keys."""

    of_sdes: ClassVar[bool] = True
    part: AbstractLocal
    row: int
    key: Any

    def request(self, problem, solver, key):
        return self.part.request(problem, solver, self.key)

    def value(self, seen):
        assert seen.picked is not None
        found = ravel_pytree((seen.picked.t, seen.picked.h, seen.picked.y))[0]
        return jnp.zeros((2, found.size)).at[self.row].set(found)


def seen_on_path(draws, sde, t1, **options):
    """Of so many draws, unbiased and biased: the starts, sizes and start states of the steps."""

    def one(key):
        keys = jax.random.split(key)
        parts = [Draws(kx.LocalError(kind, size="solver"), i, keys[i]) for i, kind in enumerate(SAMPLINGS)]
        return kx.solve(sde, jnp.ones(SHAPE), 0.0, t1, penalty=parts[0] + parts[1], batch_axis=0, **options).penalty

    rows = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), draws)))
    split = lambda x: (x[:, 0], x[:, 1], x[:, 2:].reshape(-1, *SHAPE))
    return {kind: split(rows[:, i]) for i, kind in enumerate(SAMPLINGS)}


SAMPLINGS = ("unbiased", "biased")


def test_states_on_a_fixed_grid(key):
    """Steps of 0.05 up to 0.2 and of 0.25 up to 1.2; the empty interval at t0 has no cells."""
    seen = seen_on_path(400, WIENER, 1.2, solver=kx.EulerMaruyama(4, refine=2), ts=[0.0, 0.2], key=key)
    starts, sizes = np.concatenate([np.arange(4) * 0.05, 0.2 + np.arange(4) * 0.25]), np.repeat([0.05, 0.25], 4)
    path = kx.BrownianPath(key, jax.ShapeDtypeStruct(SHAPE, jnp.float64))
    rises = [np.sqrt(size) * np.asarray(path.increment(2 * n, 2).w) for n, size in enumerate(sizes)]
    states = 1 + np.cumsum([np.zeros(SHAPE), *rises[:-1]], axis=0)
    assert_steps(seen, starts, sizes, states, 1e-12)


def assert_steps(seen, starts, sizes, states, tol):
    """Each with its own start, size and state; as likely as it is long, or each as likely."""
    for kind, (t, h, y) in seen.items():
        step = np.argmin(np.abs(t[:, None] - starts), axis=1)
        np.testing.assert_allclose(t, starts[step], rtol=0, atol=tol)
        np.testing.assert_allclose(h, sizes[step], rtol=1e3 * tol)
        np.testing.assert_allclose(y, states[step], rtol=0, atol=1e3 * tol)
        share = sizes / np.sum(sizes) if kind == "unbiased" else np.full(len(sizes), 1 / len(sizes))
        found = np.bincount(step, minlength=len(share)) / len(t)
        assert np.all(np.abs(found - share) < 4 * np.sqrt(share / len(t)) + 1 / len(t))


def test_another_end(key):
    """STEER moves t1; the path goes on to there."""
    sol = kx.solve(WIENER, jnp.ones(3), 0.0, 1.0, solver=kx.EulerMaruyama(2), penalty=kx.penalties.Steer(0.5), key=key)
    w = np.asarray(kx.BrownianPath(key, jax.ShapeDtypeStruct((3,), jnp.float64)).increment(0, 2).w)
    ends = ((np.asarray(sol.y1) - 1) / w) ** 2
    assert np.ptp(ends) < 1e-12 and 0.5 < ends[0] < 1.5 and ends[0] != 1


# Adaptive steps.

TOL, MOST = 1e-2, 128


@pytest.fixture(scope="module")
def adaptive():
    """diffrax's own solve: the times of its steps, its states, and the sum of E |h| over them as a function of args."""
    key, y0, t1, solver = jax.random.key(5), jnp.ones(SHAPE), 1.2, diffrax.SPaRK(scan_kind="lax")
    finest = t1 / (2 * MOST)
    problem = terms(0.0, t1, finest / 2, key)
    controller = diffrax.PIDController(
        TOL, TOL, dtmin=finest, force_dtmin=False, norm=lambda x: jnp.sqrt(jnp.mean(x**2))
    )
    saveat = diffrax.SaveAt(t0=True, steps=True)
    solve = lambda args: diffrax.diffeqsolve(
        problem, solver, 0.0, t1, t1 / 100, y0, args, saveat=saveat, stepsize_controller=controller, max_steps=MOST
    )
    sol = jax.jit(solve)(ARGS)
    n = int(sol.stats["num_accepted_steps"])
    ts, ys = np.asarray(sol.ts)[: n + 1], np.asarray(sol.ys)[: n + 1]

    @jax.jit
    def charged(args):
        """Over the same steps, whatever the args."""

        def step(y, ends):
            y1, estimate, *_ = solver.step(problem, *ends, y, args, None, made_jump=False)
            scale = TOL + TOL * jnp.maximum(jnp.abs(y), jnp.abs(y1))
            return y1, jnp.sqrt(jnp.mean((estimate / scale) ** 2)) * (ends[1] - ends[0])

        y1, costs = jax.lax.scan(step, y0, (jnp.asarray(ts[:-1]), jnp.asarray(ts[1:])))
        return jnp.sum(costs), y1

    return key, ts, ys, charged


def spark():
    return kx.FromDiffrax(diffrax.SPaRK(), TOL, TOL)


@pytest.mark.slow
def test_global_error_and_its_gradient(adaptive):
    """The sum over diffrax's steps, and its difference on the same steps and path."""
    key, ts, ys, charged = adaptive

    def value(args):
        options = {"solver": spark(), "args": args, "batch_axis": 0, "max_steps": MOST}
        sol = kx.solve(STRATONOVICH, jnp.ones(SHAPE), 0.0, 1.2, penalty=kx.GlobalError(), key=key, **options)
        return sol.penalty, sol

    (found, sol), slope = jax.jit(jax.value_and_grad(value, has_aux=True))(ARGS)
    assert sol.stats.accepted == len(ts) - 1 and len(ts) > 5
    np.testing.assert_allclose(sol.y1, ys[-1], rtol=1e-9)
    np.testing.assert_allclose(found, charged(ARGS)[0], rtol=1e-9)
    for name, eps in (("a", 1e-5), ("b", 1e-5)):
        ends = [charged({**ARGS, name: ARGS[name] + e})[0] for e in (eps, -eps)]
        np.testing.assert_allclose(slope[name], (ends[0] - ends[1]) / (2 * eps), rtol=1e-6)


@pytest.mark.slow
def test_states_of_adaptive_steps(adaptive):
    key, ts, ys, _ = adaptive
    seen = seen_on_path(300, STRATONOVICH, 1.2, solver=spark(), key=key, args=ARGS, max_steps=MOST)
    assert_steps(seen, ts[:-1], np.diff(ts), ys[:-1], 1e-10)


def test_an_ode_has_no_sde_solver():
    with pytest.raises(UserError, match="sde_solver is for SDEs: with an ODE give a tableau, or leave it out"):
        kx.solve(
            lambda t, y, args: -y,
            jnp.ones(2),
            0.0,
            1.0,
            solver=kx.FixedSteps(kx.tableaus.RK4, 2),
            penalty=kx.LocalError(sde_solver=diffrax.SPaRK()),
            key=jax.random.key(0),
        )

"""What solvers see for penalties: states picked on the way, costs of their steps, and the derivatives of both."""

import dataclasses
import itertools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from counting import counted
from differences import assert_gradient_is_a_difference
from jax.flatten_util import ravel_pytree
from looking import looked
from scipy import stats
from scipy.integrate import solve_ivp
from slowness import mostly_slow

import kuttax as kx
from kuttax.penalties import GlobalError, GlobalStiffness, LocalError
from kuttax.solvers.base.problem import Problem
from kuttax.solvers.rk.adaptive import tape as tape_module
from kuttax.solvers.rk.adaptive.march import march
from kuttax.solvers.rk.tableaus import BOSH3, HEUN2, RK4, TSIT5

T0, T1 = 0.2, 5.0
ARGS = {"spring": 1.1, "force": 0.4}
Y0 = np.array([1.0, 0.5, 1.5])
CALM = np.array([0.3, 0.2, 0.3])  # for coarse grids, and backward in time
BATCH = np.array([[1.0, 0.5, 0.2], [0.3, -0.5, 2.0], [2.0, 0.1, 6.0]])  # the last component is the stiffness
DRAWS = 3000
LEAST_P = 1e-3  # seeds are fixed: this is met or not, once and for all
SAME = 1e-9  # two programs' meshes differ by rounding that the steps' control amplifies


def slopes(t, y, args, xp):
    """Van der Pol's oscillator, driven; mu travels in the state, so that every sample has its own."""
    x, v, mu = y[0], y[1], y[2]
    return xp.stack([v, mu * (1 - x * x) * v - args["spring"] * x + args["force"] * xp.cos(2 * t), 0 * mu])


def field(t, y, args):
    return slopes(t, y, args, jnp)


@eqx.filter_jit
def marched(solver, problem):
    return march(solver, problem, taped=True, bounded=False)


def mesh(solver, y0, t0=T0, t1=T1):
    """The times between the steps that an adaptive solve takes, one array a lane."""
    args = jax.tree.map(jnp.asarray, ARGS)
    problem = Problem(field, jnp.asarray(y0), jnp.asarray(t0), jnp.asarray(t1), None, args, y0.ndim == 2)
    final = marched(solver, problem)
    starts, counts = np.asarray(final.tape.t), np.atleast_1d(final.accepted)
    starts = starts.reshape(len(starts), -1)
    return [np.append(starts[:count, lane], t1) for lane, count in enumerate(counts)]


def truth(y0, times, t0, t1):
    """The solution from y0 at the times, sorted from t0 to t1: DOP853."""
    sol = solve_ivp(
        lambda t, y: slopes(t, y, ARGS, np), (t0, t1), y0, method="DOP853", t_eval=times, rtol=1e-11, atol=1e-11
    )
    return sol.y.T


ADAPTIVE = {
    "forward": (kx.Adaptive(TSIT5, 1e-6, 1e-6), Y0, {"ts": [0.7, 1.9, 2.0]}),
    "backward": (kx.Adaptive(BOSH3, 1e-6, 1e-6), CALM, {}),
    "per sample": (kx.Adaptive(BOSH3, 1e-5, 1e-5, control="per_sample"), BATCH, {"batch_axis": 0}),
}


def ends(name):
    return (T1, T0) if name == "backward" else (T0, T1)


@pytest.mark.parametrize("name", mostly_slow(["backward", "per sample"], "per sample"))
def test_a_time_is_uniform_and_the_state_there_is_the_solution(name, key):
    """And the step is as long as the one that the solver took across that time, but for the end of the solve."""
    (solver, y0, options), (t0, t1) = ADAPTIVE[name], ends(name)
    lanes = len(y0) if y0.ndim == 2 else 1
    part = LocalError(size="solver")
    keys = jax.random.split(key, DRAWS)
    seen = looked(part, keys, field, jnp.asarray(y0), t0, t1, lanes=lanes, args=ARGS, solver=solver, **options)
    assert stats.kstest((seen.t[:, 0] - t0) / (t1 - t0), "uniform").pvalue > LEAST_P
    assert np.all(seen.t == seen.t[:, :1])  # one time for all samples
    few = np.argsort(seen.t[:, 0])[:: DRAWS // 40] if t1 > t0 else np.argsort(-seen.t[:, 0])[:: DRAWS // 40]
    for lane, nodes in enumerate(mesh(solver, y0, t0, t1)):
        step = np.searchsorted((nodes - t0) * np.sign(t1 - t0), np.abs(seen.t[:, lane] - t0)) - 1
        size = np.minimum(np.abs(np.diff(nodes)[step]), np.abs(t1 - seen.t[:, lane]))
        np.testing.assert_allclose(seen.h[:, lane], np.sign(t1 - t0) * size, rtol=0, atol=SAME)
        y = seen.y[few] if lanes == 1 else seen.y[few, lane]
        start = y0 if lanes == 1 else y0[lane]
        np.testing.assert_allclose(y, truth(start, seen.t[few, lane], t0, t1), rtol=0, atol=2e-3)


@pytest.mark.slow
def test_a_time_in_a_solve_by_diffrax(key):
    """A budget of three steps: on the first two thirds of the interval."""
    keys, solver = jax.random.split(key, 500), kx.FromDiffrax(diffrax.Bosh3(), steps=400)
    seen = looked(LocalError(steps=3), keys, field, jnp.asarray(Y0), T0, T1, args=ARGS, solver=solver)
    assert stats.kstest((seen.t[:, 0] - T0) / (T1 - T0), "uniform", (0, 2 / 3)).pvalue > LEAST_P
    few = np.argsort(seen.t[:, 0])[::25]
    np.testing.assert_allclose(seen.y[few], truth(Y0, seen.t[few, 0], T0, T1), rtol=0, atol=1e-4)
    np.testing.assert_allclose(seen.h, (T1 - T0) / 3, rtol=1e-15)


CROWDED = np.append(np.linspace(T0, T0 + 0.1 * (T1 - T0), 12), T1)
"""Outputs that nearly all lie in the first tenth of the interval."""


@pytest.mark.parametrize(
    "solver", mostly_slow([kx.Adaptive(BOSH3, 1e-4, 1e-4), kx.FromDiffrax(diffrax.Bosh3(), 1e-4, 1e-4)])
)
def test_a_time_is_uniform_however_outputs_crowd(solver, key):
    keys = jax.random.split(key, DRAWS)
    options = {"args": ARGS, "solver": solver, "ts": CROWDED}
    seen = looked(LocalError(steps=4), keys, field, jnp.asarray(CALM), T0, T1, **options)
    assert stats.kstest((seen.t[:, 0] - T0) / (T1 - T0), "uniform", (0, 3 / 4)).pvalue > LEAST_P


def test_a_step_between_crowded_outputs_is_picked_by_its_length(key):
    """A scheme with fixed steps takes as many in the last interval as in each of the crowd."""
    keys, options = jax.random.split(key, DRAWS), {"args": ARGS, "solver": kx.FixedSteps(RK4, 3), "ts": CROWDED}
    seen = looked(LocalError(size="solver"), keys, field, jnp.asarray(CALM), T0, T1, **options)
    nodes = np.concatenate([np.linspace(a, b, 4)[:-1] for a, b in itertools.pairwise(CROWDED)] + [[T1]])
    counts = np.histogram(seen.t[:, 0] + 1e-9, nodes)[0]
    assert stats.chisquare(counts, DRAWS * np.diff(nodes) / (T1 - T0)).pvalue > LEAST_P


@pytest.mark.parametrize("name", mostly_slow(["forward", "per sample"], "per sample"))
def test_every_step_is_as_likely(name, key):
    """Its own steps for every sample, whatever the outputs are."""
    (solver, y0, options), (t0, t1) = ADAPTIVE[name], ends(name)
    lanes = len(y0) if y0.ndim == 2 else 1
    part = LocalError("biased", size="solver")
    keys = jax.random.split(key, DRAWS)
    seen = looked(part, keys, field, jnp.asarray(y0), t0, t1, lanes=lanes, args=ARGS, solver=solver, **options)
    for lane, nodes in enumerate(mesh(solver, y0, t0, t1)):
        step = assert_starts_are_as_likely(seen.t[:, lane], nodes)
        np.testing.assert_allclose(seen.h[:, lane], np.diff(nodes)[step], rtol=0, atol=SAME)
        _, first = np.unique(step, return_index=True)
        y = seen.y[first] if lanes == 1 else seen.y[first, lane]
        start = y0 if lanes == 1 else y0[lane]
        np.testing.assert_allclose(y, truth(start, nodes[:-1], t0, t1), rtol=0, atol=2e-3)


def assert_starts_are_as_likely(t, nodes):
    """Every time is the start of a step between the nodes, by a chi-square test of any of them; the steps' numbers."""
    starts = nodes[:-1]
    step = np.argmin(np.abs(t[:, None] - starts), axis=1)
    np.testing.assert_allclose(t, starts[step], rtol=0, atol=SAME)
    counts = np.bincount(step, minlength=len(starts))
    assert counts.min() > 5  # else the test does not hold
    assert stats.chisquare(counts).pvalue > LEAST_P
    return step


# On a fixed grid.


def learned():
    start = kx.LearnedRK.from_tableau(RK4, 4, learn_steps=True)
    return dataclasses.replace(start, logits=jnp.array([0.5, -0.3, 0.0, 0.2]))


def shares(logits):
    """The step sizes of a learned solver, as fractions of the interval."""
    exponentials = np.exp(np.asarray(logits))
    return 0.01 / len(logits) + 0.99 * exponentials / exponentials.sum()


TS = [0.7, 1.9, T1]
FIXED = {
    "outputs": (
        kx.FixedSteps(RK4, 3),
        TS,
        np.concatenate([np.linspace(a, b, 4)[:-1] for a, b in itertools.pairwise([T0, *TS])] + [[T1]]),
    ),
    "learned": (learned(), None, T0 + (T1 - T0) * np.cumsum([0, *shares(learned().logits)])),
    "backward": (kx.FixedSteps(RK4, 5), None, np.linspace(T1, T0, 6)),
}


def rk4(f, y, nodes):
    """The states at the nodes, by the classical formulas."""
    ys = [y]
    for t, end in itertools.pairwise(nodes):
        h = end - t
        k1 = f(t, y)
        k2 = f(t + h / 2, y + h / 2 * k1)
        k3 = f(t + h / 2, y + h / 2 * k2)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + f(end, y + h * k3))
        ys.append(y)
    return np.array(ys)


@pytest.mark.parametrize("name", FIXED)
def test_every_step_of_a_fixed_grid_is_as_likely(name, key):
    (solver, ts, nodes), keys = FIXED[name], jax.random.split(key, DRAWS)
    part = LocalError("biased", size="solver")
    seen = looked(part, keys, field, jnp.asarray(CALM), nodes[0], nodes[-1], args=ARGS, solver=solver, ts=ts)
    step = assert_starts_are_as_likely(seen.t[:, 0], nodes)
    np.testing.assert_allclose(seen.h[:, 0], np.diff(nodes)[step], rtol=0, atol=SAME)
    ys = rk4(lambda t, y: slopes(t, y, ARGS, np), CALM, nodes)
    np.testing.assert_allclose(seen.y, ys[step], rtol=0, atol=1e-11 * np.abs(ys).max())


def test_a_time_on_a_fixed_grid_is_the_start_of_its_step(key):
    """A budget of two: the steps of the first half of the interval."""
    nodes, keys = np.linspace(T0, T1, 11), jax.random.split(key, DRAWS)
    seen = looked(LocalError(steps=2), keys, field, jnp.asarray(CALM), T0, T1, args=ARGS, solver=kx.FixedSteps(RK4, 10))
    step = assert_starts_are_as_likely(seen.t[:, 0], nodes[:6])
    np.testing.assert_allclose(seen.h, (T1 - T0) / 2, rtol=1e-15)
    ys = rk4(lambda t, y: slopes(t, y, ARGS, np), CALM, nodes)
    np.testing.assert_allclose(seen.y, ys[step], rtol=0, atol=1e-11)


# The costs of the steps, against a plain loop over the steps that were taken, and its differences.


def rms(x):
    return np.sqrt(np.mean(np.square(x)))


def charged(tableau, tolerance, x, nodes):
    """sum_j E_j |h_j| and sum_j S_j |h_j| over the nodes, the first and the last of which are moved to t0 and t1."""
    nodes = np.concatenate([[x["t0"]], nodes[1:-1], [x["t1"]]])
    y, total = x["y0"], np.zeros(2)
    for t, end in itertools.pairwise(nodes):
        h, k, states = end - t, [], []
        for row, c in zip([*tableau.a, tableau.b], [*tableau.c, 1.0], strict=True):
            states.append(y + h * sum((a * slope for a, slope in zip(row, k, strict=False)), np.zeros_like(y)))
            k.append(slopes(t + c * h, states[-1], x["args"], np))
        scale = tolerance * (1 + np.maximum(np.abs(y), np.abs(states[-1])))
        error = rms(h * sum(e * slope for e, slope in zip(tableau.error, k, strict=True)) / scale)
        stiffness = rms(k[-1] - k[-2]) / rms(states[-1] - states[-2])  # both taken at the end of the step
        y, total = states[-1], total + np.abs(h) * np.array([error, stiffness])
    return total


def derivative(function, x, direction, eps=1e-4):
    """Along a direction, by central differences of fourth order."""
    at, unravel = ravel_pytree(x)
    along = ravel_pytree(direction)[0]
    values = [function(jax.tree.map(np.asarray, unravel(at + s * eps * along))) for s in (-2, -1, 1, 2)]
    return np.array([1, -8, 8, -1]) @ np.array(values) / (12 * eps)


COSTLY = {
    "joint": (kx.Adaptive(TSIT5, 1e-4, 1e-4), Y0, None),
    "per sample": (kx.Adaptive(HEUN2, 1e-2, 1e-2, control="per_sample"), BATCH, 0),
}


@pytest.mark.parametrize("name", mostly_slow(COSTLY, "per sample"))
def test_costs_are_those_of_a_plain_loop(name, rng):
    """In value, and, on the frozen mesh, in their derivative along a direction of everything."""
    solver, y0, axis = COSTLY[name]
    meshes = mesh(solver, y0)
    inputs = jax.tree.map(np.asarray, {"y0": y0, "args": ARGS, "t0": T0, "t1": T1})

    def loop(x):
        lanes = [x] if axis is None else [{**x, "y0": y} for y in x["y0"]]
        each = [charged(solver.tableau, float(solver.rtol), *lane) for lane in zip(lanes, meshes, strict=True)]
        return np.mean(each, axis=0)

    @jax.jit
    @jax.value_and_grad
    def ours(x, of_error, of_stiffness):
        penalty = of_error * GlobalError() + of_stiffness * GlobalStiffness()
        options = {"solver": solver, "args": x["args"], "batch_axis": axis, "penalty": penalty}
        return kx.solve(field, x["y0"], x["t0"], x["t1"], **options).penalty

    direction = jax.tree.map(lambda x: rng.normal(size=x.shape), inputs)
    slopes = derivative(loop, inputs, direction, 1e-5)
    for i, weights in enumerate(np.eye(2)):
        value, gradient = ours(jax.tree.map(jnp.asarray, inputs), *jnp.asarray(weights))
        np.testing.assert_allclose(value, loop(inputs)[i], rtol=1e-9)
        slope = np.dot(ravel_pytree(gradient)[0], ravel_pytree(direction)[0])
        np.testing.assert_allclose(slope, slopes[i], rtol=2e-6)


# Derivatives: the replay against JAX's own rules, of everything at once.

EVERYTHING = (
    GlobalError()
    + LocalError("biased", size="solver", through="state")
    + LocalError(through="state", transform="plain", rtol=1e-2, atol=1e-2)
)
REPLAYED = {
    "joint": ("joint", None, None),
    "per sample, recomputed": ("per_sample", [0.7, 1.9, 2.0], 4),
}


@pytest.mark.parametrize("name", mostly_slow(REPLAYED))
def test_replay_has_the_derivative_of_forward_mode(name, key, rng, monkeypatch):
    """Of picks, costs, outputs and the end; with more steps than the tape holds too."""
    control, ts, slots = REPLAYED[name]
    if slots is not None:
        monkeypatch.setattr(tape_module, "_FEWEST", slots)
        monkeypatch.setattr(tape_module, "_MOST", slots)
    solver = kx.Adaptive(HEUN2, 1e-2, 1e-2, control=control)

    def own(t, y, args):  # a field of this test alone: the number of slots is read when it is compiled
        return slopes(t, y, args, jnp)

    def value(x, adjoint):
        sol = kx.solve(
            own,
            x["y0"],
            x["t0"],
            x["t1"],
            solver=solver,
            args=x["args"],
            ts=x["ts"],
            batch_axis=0,
            adjoint=adjoint,
            penalty=EVERYTHING,
            key=key,
            max_steps=256,
        )
        outputs = 0.0 if sol.ys is None else jnp.sum(jnp.cos(sol.ys))
        return sol.penalty + jnp.sum(jnp.sin(sol.y1)) + outputs, sol.stats.accepted

    x = {"y0": BATCH, "args": ARGS, "t0": T0, "t1": T1, "ts": None if ts is None else np.asarray(ts)}
    x = jax.tree.map(jnp.asarray, x)
    gradient, accepted = jax.jit(jax.grad(lambda x: value(x, kx.DiscreteAdjoint()), has_aux=True))(x)
    direction = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), x)
    forward = jax.jit(lambda x, v: jax.jvp(lambda x: value(x, kx.ForwardMode())[0], (x,), (v,))[1])
    assert accepted.max() > (32 if slots is None else 8 * slots)
    slope = np.dot(ravel_pytree(gradient)[0], ravel_pytree(direction)[0])
    np.testing.assert_allclose(slope, forward(x, direction), rtol=1e-9)


class Powered(GlobalError):
    """A cost that depends on a number."""

    power: jax.Array

    def charge(self, step):
        return super().charge(step) ** self.power


@pytest.mark.slow
def test_a_cost_may_depend_on_traced_numbers(rng):
    """And has their derivative, by differences."""

    def value(x):
        options = {"solver": kx.Adaptive(HEUN2, 1e-2, 1e-2), "args": ARGS, "penalty": Powered(x["power"])}
        return kx.solve(field, jnp.asarray(CALM), T0, 1.0, **options).penalty

    assert_gradient_is_a_difference(value, {"power": jnp.asarray(1.3)}, rng)


PRODUCTS = {  # a step of the solve, and in the whole of the penalty's own, whose estimate is of two slopes
    "costs": (GlobalError() + LocalError(), 2, 0),
    "costs of the end": (GlobalStiffness() + LocalError(), 3, 0),
    "picked inside": (LocalError(through="state"), 3, 2),
    "picked at a start": (LocalError("biased", through="state"), 2, 2),
    "through the step alone": (LocalError(), 2, 0),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_of_a_reverse_pass_are_counted(name, key):
    """States inside of steps, and costs that depend on the slope at the end, need one more a step."""
    penalty, each, own = PRODUCTS[name]
    with counted(lambda t, y, _: slopes(t, y, ARGS, jnp)) as (counting, calls):

        def value(y0):
            sol = kx.solve(counting, y0, T0, T1, solver=kx.Adaptive(HEUN2, 1e-2, 1e-2), penalty=penalty, key=key)
            return jnp.sum(sol.y1) + sol.penalty, sol.stats

        _, found = jax.grad(value, has_aux=True)(jnp.asarray(Y0))
    assert calls["products"] - own == found.nfe_backward == each * found.accepted

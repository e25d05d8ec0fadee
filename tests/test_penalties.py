"""Penalties against their definitions: diffrax's error estimates, spectral radii, quadrature, differences.

What solvers see for them is held in test_engine_eyes.py.
"""

import dataclasses
import functools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from counting import counted
from differences import assert_gradient_is_a_difference
from looking import Looks, looked
from scipy import stats
from scipy.integrate import quad
from slowness import mostly_slow

import kuttax as kx
from kuttax.errors import UserError
from kuttax.penalties import (
    Consistency,
    GlobalError,
    GlobalStiffness,
    JacobianFrobenius,
    Kinetic,
    LocalError,
    LocalStiffness,
    PathLength,
    Steer,
    Taylor,
)
from kuttax.solvers.rk.step import stiffness_pair
from kuttax.solvers.rk.tableaus import BOSH3, DOPRI5, EULER, HEUN2, MIDPOINT, RK4, TSIT5

T0, T1 = 0.2, 1.7
WEIGHTS = np.random.default_rng(3).normal(size=(3, 3))
Y0 = np.array([0.4, -0.7, 1.1])
ADAPTIVE = kx.Adaptive(DOPRI5, 1e-6, 1e-6)
FIXED = kx.FixedSteps(RK4, 4)


def slopes(t, y, weights, xp):
    return xp.tanh(weights @ y) * (1 + t)


def field(t, y, weights):
    return slopes(t, y, weights, jnp)


def penalty_of(penalty, solver, key, *, adjoint=None, batch_axis=None):
    """The penalty as a function of weights and start."""

    def value(weights, y0):
        options = {"adjoint": adjoint, "batch_axis": batch_axis, "penalty": penalty, "key": key}
        return kx.solve(field, y0, T0, T1, args=weights, solver=solver, **options).penalty

    return value


def rms(x):
    return np.sqrt(np.mean(np.square(x)))


# One step of an embedded pair.

PAIRS = {
    "tsit5, log, joint": (TSIT5, diffrax.Tsit5(), "log", lambda error, h: np.log1p(error)),
    "tsit5, scaled, joint": (TSIT5, diffrax.Tsit5(), "scaled", lambda error, h: error * h),
    "dopri5, plain, per_sample": (DOPRI5, diffrax.Dopri5(), "plain", lambda error, h: error),
    "tsit5, squared, joint": (TSIT5, diffrax.Tsit5(), "log", lambda error, h: np.log1p(error**2)),
}


@pytest.mark.parametrize("name", mostly_slow(PAIRS, "tsit5, log, joint", "dopri5, plain, per_sample"))
def test_error_is_that_of_diffrax(name, key, rng):
    """Its estimate for the same step, held against the tolerances: of the whole batch, or of each sample."""
    tableau, theirs, transform, of_error = PAIRS[name]
    rtol, atol, control = 1e-5, 1e-6, name.split(", ")[-1]
    solver = kx.Adaptive(BOSH3, rtol, atol, control=control)
    part = LocalError(steps=3, transform=transform, tableau=tableau, power=2 if "squared" in name else 1)
    keys, weights = jax.random.split(key, 4), jnp.asarray(3 * WEIGHTS)  # an error well above rounding
    lanes, y0 = (1 if control == "joint" else 2), jnp.asarray(rng.normal(size=(2, 3)))
    seen = looked(part, keys, field, y0, T0, T1, lanes=lanes, solver=solver, args=weights, batch_axis=0)
    terms = diffrax.ODETerm(jax.vmap(field, in_axes=(None, 0, None)))

    @jax.jit
    def step(t, t1, y):
        state = theirs.init(terms, t, t1, y, weights)
        return theirs.step(terms, t, t1, y, weights, state, made_jump=False)[:2]

    np.testing.assert_allclose(seen.h, (T1 - T0) / 3, rtol=1e-15)
    for t, h, y, cost in zip(seen.t[:, 0], seen.h[:, 0], seen.y, seen.cost, strict=True):
        y1, estimate = step(jnp.asarray(t), jnp.asarray(t + h), jnp.asarray(y))
        scaled = estimate / (atol + rtol * np.maximum(np.abs(y), np.abs(y1)))
        error = [rms(lane) for lane in np.split(scaled, lanes)]
        # The estimate is a difference of slopes: its rounding is that of the state, over the tolerance.
        np.testing.assert_allclose(cost, of_error(np.array(error), h), rtol=1e-10, atol=20 * 2.3e-16 / rtol)


def hairer(f, t, y, span, rtol, atol, k):
    """The first step of Hairer, Norsett & Wanner I, II.4, in a unit of time T in place of 1.

    T is the length of the interval, or the time in which the state or its slope changes by its own size if that is
    longer.
    """
    unit = abs(span)
    for _ in range(2):
        step, rates = hairer_in_units_of(unit, f, t, y, span, rtol, atol, k)
        unit = max(abs(span), min(rates))
    return step


def hairer_in_units_of(unit, f, t, y, span, rtol, atol, k):
    """The book's first step of the problem with time counted in `unit`, in the old time; 1 over the rates of change."""
    step, rates = hairer_in_the_book(lambda s, y: unit * f(t + unit * s, y), 0.0, y, span / unit, rtol, atol, k)
    return unit * step, [unit * x for x in rates]


def hairer_in_the_book(f, t, y, span, rtol, atol, k):
    scale = atol + rtol * np.abs(y)
    slope = f(t, y)
    d0, d1 = rms(y / scale), rms(slope / scale)
    h0 = min(0.01 * d0 / d1, abs(span)) if min(d0, d1) >= 1e-5 else 1e-6
    ahead = np.copysign(h0, span)
    d2 = rms((f(t + ahead, y + ahead * slope) - slope) / scale) / h0
    h1 = max(1e-6, 1e-3 * h0) if max(d1, d2) <= 1e-15 else (0.01 / max(d1, d2)) ** (1 / k)
    return np.copysign(min(100 * h0, h1, abs(span)), span), (d0 / d1, d1 / d2)


@pytest.mark.parametrize("times", [(T0, T1), (T1, T0)], ids=["forward", "backward"])
def test_initial_size_is_hairers(times, key):
    """For a pair whose error shrinks as h^5, up to the end that is ahead."""
    t0, t1 = times
    part = LocalError(size="initial", tableau=TSIT5)
    keys, options = jax.random.split(key, 20), {"solver": kx.Adaptive(BOSH3, 1e-4, 1e-5), "args": jnp.asarray(WEIGHTS)}
    seen = looked(part, keys, field, jnp.asarray(Y0), t0, t1, **options)
    for t, h, y in zip(seen.t[:, 0], seen.h[:, 0], seen.y, strict=True):
        truth = hairer(lambda t, y: slopes(t, y, WEIGHTS, np), t, y, t1 - t, 1e-4, 1e-5, 5)
        np.testing.assert_allclose(h, truth, rtol=1e-10)


@pytest.mark.parametrize("times", [(T0, T1), (T1, T0)], ids=["forward", "backward"])
def test_a_step_that_would_pass_the_end_is_shortened(times, key):
    """A budget of three steps, from any of the solver's five starts: the last two are beyond the second third."""
    (t0, t1), keys = times, jax.random.split(key, 60)
    options = {"solver": kx.FixedSteps(RK4, 5), "args": jnp.asarray(WEIGHTS)}
    seen = looked(LocalError("biased", steps=3), keys, field, jnp.asarray(Y0), t0, t1, **options)
    fifths = (t1 - t0) / 5 * np.arange(5)
    step = np.argmin(np.abs(seen.t - (t0 + fifths)), axis=1)
    assert set(step) == set(range(5))
    truth = (t1 - t0) * np.array([1 / 3, 1 / 3, 1 / 3, 1 / 3, 1 / 5])
    truth[3:] = np.sign(t1 - t0) * np.minimum(np.abs(truth[3:]), np.abs(t1 - t0 - fifths[3:]))
    np.testing.assert_allclose(seen.h[:, 0], truth[step], rtol=1e-12)


def test_the_pair_and_the_tolerances_are_the_solvers_own():
    """Where it has some; TSIT5 and 1e-6 elsewhere; what the penalty names comes first."""
    solvers = [
        (kx.FixedSteps(RK4, 2), (RK4, 1e-6, 1e-6, "joint")),
        (kx.FixedSteps(EULER, 2), (TSIT5, 1e-6, 1e-6, "joint")),
        (kx.Adaptive(BOSH3, 1e-3, 1e-4, control="per_sample"), (BOSH3, 1e-3, 1e-4, "per_sample")),
        (kx.LearnedRK.from_tableau(RK4, 2), (TSIT5, 1e-6, 1e-6, "joint")),
        (kx.FromDiffrax(diffrax.Heun(), 1e-3, 1e-4), (TSIT5, 1e-3, 1e-4, "joint")),
    ]
    for solver, expected in solvers:
        pair = LocalError().pair(solver)
        assert (pair.tableau, float(pair.rtol), float(pair.atol), pair.control) == expected
        named = LocalError(tableau=DOPRI5, rtol=1e-2, atol=0.0).pair(solver)
        assert (named.tableau, float(named.rtol), float(named.atol)) == (DOPRI5, 1e-2, 0.0)


FIRST_SAME_AS_LAST = {  # the numbers of two slopes at one time, the last of which is that at the end of the step
    "Tsit5": (6, 7),  # k7 - k6 and y1 - g6 (Pal et al. 2023, section 3)
    "Dopri5": (6, 7),  # as Hairer's DOPRI5 has it (Hairer & Wanner II, IV.2)
    "Dopri8": (13, 14),  # of 13 stages
    "RK4": (4, 5),
    "RK38": (4, 5),
    "Heun2": (2, 3),
    "Kutta3": (3, 4),
    "SSPRK3": (2, 4),
    "Euler": None,
    "Midpoint": None,
    "Ralston2": None,
    "Ralston3": None,
    "Heun3": None,
    "Bosh3": None,
}


def test_slopes_that_tell_of_stiffness():
    """Of every classical tableau."""
    every = [x for x in vars(kx.tableaus).values() if isinstance(x, kx.Tableau)]
    pairs = {tableau.name: stiffness_pair(tableau) for tableau in every if tableau.name in FIRST_SAME_AS_LAST}
    assert pairs == {name: pair and (pair[0] - 1, pair[1] - 1) for name, pair in FIRST_SAME_AS_LAST.items()}


# Rates over three decades; the step is short for the fastest.
WIDE = -np.geomspace(1.0, 300.0, 6)
ROTATION = np.linalg.qr(np.random.default_rng(5).normal(size=(6, 6)))[0]
UPPER = np.triu(np.random.default_rng(6).normal(size=(6, 6)), 1) + np.diag(WIDE)
STIFF = {
    "symmetric, any state": (ROTATION * WIDE @ ROTATION.T, ROTATION @ np.ones(6)),
    "stiff direction": (UPPER, np.linalg.eig(UPPER)[1][:, 5]),
}


@pytest.mark.parametrize("tableau", [TSIT5, DOPRI5], ids=["tsit5", "dopri5"])
@pytest.mark.parametrize("name", STIFF)
def test_stiffness_is_the_spectral_radius(name, tableau, key):
    """Within a tenth (Hairer & Wanner II, IV.2), at the start of the only step of a fixed grid."""
    jacobian, y0 = STIFF[name]
    part = LocalStiffness(tableau=tableau, steps=1)
    sol = kx.solve(
        lambda t, y, a: a @ y,
        jnp.asarray(y0),
        0.0,
        0.01,
        args=jnp.asarray(jacobian),
        solver=kx.FixedSteps(RK4, 1),
        penalty=part,
        key=key,
    )
    np.testing.assert_allclose(sol.penalty / 0.01, np.abs(np.linalg.eigvals(jacobian)).max(), rtol=0.1)


def step_by_hand(tableau, f, t, y, h, k1):
    """log(1 + E) of a step whose first slope is given, by a plain loop; tolerances 1e-6."""
    k = [k1]
    for i in range(1, tableau.stages):
        k.append(f(t + tableau.c[i] * h, y + h * sum(float(tableau.a[i, j]) * k[j] for j in range(i))))
    y1 = y + h * sum(float(b) * slope for b, slope in zip(tableau.b, k, strict=True))
    k.append(f(t + h, y1))
    estimate = h * sum(float(e) * slope for e, slope in zip(tableau.error, k, strict=True))
    scale = 1e-6 * (1 + jnp.maximum(jnp.abs(y), jnp.abs(y1)))
    return jnp.log1p(jnp.sqrt(jnp.mean(jnp.square(estimate / scale))))


@pytest.mark.parametrize("through", mostly_slow(["stages", "step"], "step"))
def test_gradient_through_the_step_alone(through, key):
    """Start, time and size are constants, and of the stages alone the first slope: any adjoint serves."""
    at, y0, solver = jnp.asarray(WEIGHTS), jnp.asarray(Y0), kx.Adaptive(BOSH3, 1e-6, 1e-6)
    penalty = LocalError(through=through)
    seen = looked(penalty, key[None], field, y0, T0, T1, solver=solver, args=at)
    t, h, y = seen.t[0, 0], seen.h[0, 0], jnp.asarray(seen.y[0])

    def by_hand(weights):
        k1 = field(t, y, weights)
        k1 = jax.lax.stop_gradient(k1) if through == "stages" else k1
        return step_by_hand(BOSH3, lambda t, y: field(t, y, weights), t, y, h, k1)

    value, truth = jax.jit(jax.value_and_grad(by_hand))(at)
    for adjoint in (kx.DiscreteAdjoint(), kx.BacksolveAdjoint()):
        ours = jax.value_and_grad(penalty_of(penalty, solver, key, adjoint=adjoint), argnums=(0, 1))
        found, (of_weights, of_y0) = jax.jit(ours)(at, y0)
        np.testing.assert_allclose(found, value, rtol=1e-9)
        np.testing.assert_allclose(of_weights, truth, rtol=0, atol=1e-8 * np.abs(truth).max())
        assert np.all(of_y0 == 0)


THROUGH = LocalError(through="state")
GRIDS = {
    "fixed": (FIXED, THROUGH + 1e-2 * LocalStiffness(through="state") + JacobianFrobenius()),
    "learned": (kx.LearnedRK.from_tableau(MIDPOINT, 3, order=1, per_step=True), THROUGH + Taylor(2)),
    "diffrax": (kx.FromDiffrax(diffrax.Heun(), steps=5), THROUGH),
}


@pytest.mark.parametrize("name", mostly_slow(GRIDS, "learned"))
def test_gradient_through_the_state_on_a_grid(name, key, rng):
    """In weights and start, and in the coefficients of a learned solver."""
    solver, penalty = GRIDS[name]
    leaves, structure = jax.tree.flatten(solver)
    trained = [bool(x) for x in jax.tree.leaves(kx.trainable(solver))]

    def value(x):
        free = iter(x["solver"])
        whole = [next(free) if moves else leaf for moves, leaf in zip(trained, leaves, strict=True)]
        return penalty_of(penalty, jax.tree.unflatten(structure, whole), key)(x["weights"], x["y0"])

    x = {"weights": jnp.asarray(WEIGHTS), "y0": jnp.asarray(Y0)}
    x["solver"] = [leaf for moves, leaf in zip(trained, leaves, strict=True) if moves]
    assert (len(x["solver"]) > 0) == (name == "learned")
    assert_gradient_is_a_difference(value, x, rng)


# Integrals along the solution.

RADII, BELLS = np.array([1.0, 0.5, 0.8]), np.array([1.0, 2.0, 0.7])
STARTS = np.stack([RADII, 0 * RADII, 1 / BELLS], axis=-1)


def circle_and_bell(t, y, args):
    """From STARTS at t = 0: r (cos r^2 t, sin r^2 t), and 1 / (c + t^2)."""
    del args
    u, v, w = y
    return jnp.stack([-v * (u * u + v * v), u * (u * u + v * v), -2 * t * w * w])


def squared_derivative(order, r, c, t):
    """|d^K y / dt^K|^2 of the closed form."""
    s = c + t * t
    bell = {1: -2 * t / s**2, 2: (6 * t * t - 2 * c) / s**3, 3: 24 * t * (c - t * t) / s**4}[order]
    return (r * r ** (2 * order)) ** 2 + bell**2


def integrals(order, t1):
    """Of each sample, by quadrature."""
    return [quad(lambda t, of=of: squared_derivative(order, *of, t), 0, t1)[0] for of in zip(RADII, BELLS, strict=True)]


ORDERS = {
    "taylor 1": (Taylor(1), 1, "joint"),
    "taylor 2": (Taylor(2), 2, "per_sample"),
    "taylor 3": (Taylor(3), 3, "joint"),
}


@pytest.mark.parametrize("name", mostly_slow(ORDERS, "taylor 2"))
def test_derivatives_of_the_solution_against_quadrature(name):
    """The mean over samples; backward in time the same, from where the solution is then."""
    penalty, order, control = ORDERS[name]
    solver = kx.Adaptive(DOPRI5, 1e-9, 1e-9, control=control)

    @jax.jit
    def run(y0, t0, t1):
        sol = kx.solve(circle_and_bell, y0, t0, t1, solver=solver, batch_axis=0, penalty=penalty)
        return sol.penalty, sol.y1

    there, end = run(jnp.asarray(STARTS), jnp.asarray(0.0), jnp.asarray(1.5))
    back, start = run(end, jnp.asarray(1.5), jnp.asarray(0.0))
    truth = np.mean(integrals(order, 1.5))
    np.testing.assert_allclose([there, back], truth, rtol=1e-6)
    np.testing.assert_allclose(start, STARTS, rtol=0, atol=1e-7)


def test_derivatives_of_a_state_that_is_a_tree():
    """The whole of it is one sample."""

    def tree_field(t, y, args):
        u, v, w = circle_and_bell(t, jnp.stack([*y["circle"], y["bell"]]), args)
        return {"circle": jnp.stack([u, v]), "bell": w}

    y0 = {"circle": jnp.asarray(STARTS[1, :2]), "bell": jnp.asarray(STARTS[1, 2])}
    solver = kx.FromDiffrax(diffrax.Dopri5(), 1e-9, 1e-9)
    sol = kx.solve(tree_field, y0, 0.0, 1.5, solver=solver, penalty=Taylor(2) + 10.0 * Kinetic(), ts=[0.3])
    np.testing.assert_allclose(sol.penalty, integrals(2, 1.5)[1] + 10 * integrals(1, 1.5)[1], rtol=1e-6)
    np.testing.assert_allclose(sol.ys["bell"], [1 / (BELLS[1] + 0.09)], rtol=1e-6)


def linear(t, y, matrix):
    return jnp.cos(t) * (matrix @ y)


SQUARED_COSINE = quad(lambda t: np.cos(t) ** 2, T0, T1)[0]


class WithNoise(JacobianFrobenius):
    """The noise is given, not drawn."""

    noise: jax.Array

    def request(self, problem, solver, key):
        ask = super().request(problem, solver, key)
        return ask._replace(integrand=dataclasses.replace(ask.integrand, noise=self.noise))


@pytest.mark.parametrize("times", [(T0, T1), (T1, T0)], ids=["forward", "backward"])
def test_frobenius_of_one_noise(times, key, rng):
    """|eps^T df/dy|^2 of each sample, exactly."""
    noise = rng.normal(size=(4, 3))
    solver = kx.Adaptive(DOPRI5, 1e-9, 1e-9)
    y0, options = jnp.ones((4, 3)), {"args": jnp.asarray(WEIGHTS), "batch_axis": 0, "solver": solver}
    sol = kx.solve(linear, y0, *times, penalty=WithNoise(jnp.asarray(noise)), key=key, **options)
    truth = SQUARED_COSINE * np.mean(np.sum((noise @ WEIGHTS) ** 2, axis=1))
    np.testing.assert_allclose(sol.penalty, truth, rtol=1e-8)


def test_frobenius_in_the_mean(key):
    """Over keys it is the Frobenius norm, as near as its variance, 2 |J J^T|_F^2, allows."""

    def one(key):
        options = {"args": jnp.asarray(WEIGHTS), "solver": FIXED, "penalty": JacobianFrobenius(), "key": key}
        return kx.solve(linear, jnp.ones(3), T0, T1, **options).penalty

    drawn = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(key, 4000)))
    error = SQUARED_COSINE * np.sqrt(2 / len(drawn)) * np.linalg.norm(WEIGHTS @ WEIGHTS.T)
    assert abs(drawn.mean() - SQUARED_COSINE * np.sum(WEIGHTS**2)) < 4 * error
    np.testing.assert_allclose(drawn.std() / np.sqrt(len(drawn)), error, rtol=0.1)


def test_the_path_length_of_circles_and_of_what_stands_still():
    """A circle of radius r at unit rate has length r T in either direction; at rest, value and gradient are zero."""
    turn = lambda t, y, rate: rate * jnp.stack([-y[1], y[0]])
    y0 = jnp.array([[2.0, 0.0], [0.0, 0.5]])
    options = {"solver": kx.FixedSteps(RK4, 64), "penalty": PathLength(), "batch_axis": 0}
    length = lambda rate, t1=1.5: kx.solve(turn, y0, 0.0, t1, args=rate, **options).penalty
    assert length(jnp.asarray(1.0)) == pytest.approx(1.5 * 1.25, rel=1e-6)
    assert length(jnp.asarray(-2.0), -1.5) == pytest.approx(3.0 * 1.25, rel=1e-6)
    assert jax.grad(length)(jnp.asarray(1.0)) == pytest.approx(1.5 * 1.25, rel=1e-6)
    assert jax.value_and_grad(length)(jnp.asarray(0.0)) == (0.0, 0.0)


ALONG = Kinetic() + JacobianFrobenius()
SOLVERS = {
    "per sample": kx.Adaptive(BOSH3, 1e-4, 1e-4, control="per_sample"),
    "reversible": kx.Reversible(kx.FixedSteps(MIDPOINT, 5)),
    "diffrax": kx.FromDiffrax(diffrax.Tsit5(), 1e-5, 1e-5),
}


@pytest.mark.parametrize("name", mostly_slow(SOLVERS))
def test_integrals_change_nothing_else(name, key, rng):
    """They are kept out of the error norm: the same steps, the same evaluations, the same states."""
    y0, options = jnp.asarray(rng.normal(size=(4, 3))), {"args": jnp.asarray(2 * WEIGHTS), "batch_axis": 0}
    options |= {"ts": [0.5, 0.9], "solver": SOLVERS[name]}
    free = kx.solve(field, y0, T0, T1, **options)
    penalised = kx.solve(field, y0, T0, T1, penalty=ALONG, key=key, **options)
    assert float(free.penalty) == 0 and float(penalised.penalty) > 0
    for count in ("nfe", "accepted", "rejected"):
        np.testing.assert_array_equal(getattr(penalised.stats, count), getattr(free.stats, count))
    np.testing.assert_allclose(penalised.y1, free.y1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(penalised.ys, free.ys, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_integrals_have_the_gradient_of_the_adjoint_equation(key, rng):
    """Discretise, then optimise against optimise, then discretise, at tight tolerance; the noise belongs to samples."""
    x = (jnp.asarray(WEIGHTS), jnp.asarray(rng.normal(size=(2, 3))))
    ours, truth = (
        jax.jit(jax.grad(penalty_of(ALONG, solver, key, adjoint=adjoint, batch_axis=0), argnums=(0, 1)))(*x)
        for solver, adjoint in (
            (kx.Adaptive(BOSH3, 1e-8, 1e-8, control="per_sample"), kx.DiscreteAdjoint()),
            (kx.Adaptive(BOSH3, 1e-8, 1e-8), kx.BacksolveAdjoint()),
        )
    )
    for a, b in zip(ours, truth, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * np.abs(b).max())


# Steer.


def clock(t, y, args):
    """y = (t, sin t) where it starts so."""
    del args, y
    return jnp.stack([jnp.ones_like(t), jnp.cos(t)])


def test_steer_moves_the_end(key):
    """T is uniform about t1, never before t0, and y1 is the state there; forward, backward, with b too large."""

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None, None, None))
    def run(key, t0, t1, width):
        y0 = jnp.stack([t0, jnp.sin(t0)])
        return kx.solve(clock, y0, t0, t1, solver=kx.FixedSteps(RK4, 20), penalty=Steer(width), key=key)

    keys = jax.random.split(key, 1000)
    for t0, t1, width in ((0.0, 2.0, 0.5), (2.0, 0.0, 0.5), (0.0, 2.0, 5.0)):
        sol = run(keys, *(jnp.asarray(x) for x in (t0, t1, width)))
        times, width = np.asarray(sol.y1[:, 0]), min(width, 0.999 * 2)
        assert stats.kstest(times, "uniform", (t1 - width, 2 * width)).pvalue > 1e-3
        assert np.all((times - t0) * np.sign(t1 - t0) > 0)
        np.testing.assert_allclose(sol.y1[:, 1], np.sin(times), rtol=0, atol=1e-5)
        assert np.all(sol.penalty == 0)


def test_a_moved_end_is_the_end_for_all(key):
    """A local time is uniform on the interval up to the moved end, whichever comes first in the sum."""

    def one(key):
        # The state is the time, and so tells where the solve ended and where it was looked at.
        penalty = Looks(LocalError(size="initial")) + Steer(1.9)
        options = {"solver": ADAPTIVE, "penalty": penalty, "key": key}
        sol = kx.solve(lambda t, y, _: jnp.ones_like(y), jnp.zeros(1), 0.0, 2.0, **options)
        return sol.y1[0], sol.penalty[0], sol.penalty[2]

    end, t, y = jax.jit(jax.vmap(one))(jax.random.split(key, 500))
    np.testing.assert_allclose(t, y, rtol=0, atol=1e-12)
    assert stats.kstest(t / end, "uniform").pvalue > 1e-3
    assert np.ptp(end) > 3


# Sums and weights.


def test_a_sum_is_the_weighted_sum_of_its_parts(key):
    """With the same draws; a weight may be traced, and has a gradient."""
    one, other = LocalError(), 3.0 * JacobianFrobenius()
    y0, weights = jnp.asarray(Y0), jnp.asarray(WEIGHTS)

    @jax.jit
    @jax.value_and_grad
    def value(a, b):
        return penalty_of(a * one + b * other, FIXED, key)(weights, y0)

    zero, unit, half = (jnp.asarray(x) for x in (0.0, 1.0, 0.5))
    (first, _), (second, _) = value(unit, zero), value(zero, unit)
    total, slope = value(half, unit + unit)
    np.testing.assert_allclose(total, 0.5 * first + 2 * second, rtol=1e-12)
    np.testing.assert_allclose(first, penalty_of(one, FIXED, key)(weights, y0), rtol=1e-12)
    np.testing.assert_allclose(slope, first, rtol=1e-12)


def test_weights_multiply_out():
    """Nested, from either side, of Python, NumPy or JAX."""
    total = 2 * (0.5 * LocalError() + Kinetic() * np.float32(3.0)) + jnp.asarray(0.25) * (Taylor(2) + Steer(0.1)) * 2
    assert [float(weight) for weight, _ in total.terms] == [1.0, 6.0, 0.5, 0.5]
    assert [type(part).__name__ for _, part in total.terms] == ["LocalError", "Kinetic", "Taylor", "Steer"]


# Refused, each in one line.


def solved(penalty, solver=ADAPTIVE, **options):
    options = {"args": jnp.asarray(WEIGHTS), "key": jax.random.key(0), **options}
    return kx.solve(field, jnp.asarray(Y0), T0, T1, solver=solver, penalty=penalty, **options)


BACKSOLVE = kx.BacksolveAdjoint()
REFUSED = {
    "no key": (lambda: solved(LocalError(), key=None), "LocalError draws at random: give solve a key"),
    "no key for noise": (
        lambda: solved(Kinetic() + JacobianFrobenius(), key=None),
        "JacobianFrobenius draws at random",
    ),
    "a number for a key": (lambda: solved(LocalError(), key=0), "key must be one JAX random key .*, got int"),
    "two keys": (
        lambda: solved(LocalError(), key=jax.random.split(jax.random.key(0))),
        "key must be one JAX random key",
    ),
    "no penalty": (lambda: solved(0.5), "penalty must be a kuttax penalty such as kx.LocalError.., got float"),
    "a class": (
        lambda: solved(LocalError),
        r"penalty must be a kuttax penalty such as .*, got the class LocalError: make one, LocalError",
    ),
    "no tableau": (lambda: LocalError(tableau="tsit5"), "tableau must be a kx.Tableau such as .*, got 'tsit5'"),
    "no sum": (lambda: LocalError() + 1, "penalty must be a kuttax penalty .*, got int"),
    "no weight": (lambda: "much" * Kinetic(), "weight must be a number >= 0, got 'much'"),
    "a negative weight": (lambda: -1 * Kinetic(), "weight must be a number >= 0, got -1"),
    "a negative array": (lambda: jnp.asarray(-1.0) * Kinetic(), "weight must be a number >= 0, got Array"),
    "weights": (lambda: jnp.ones(3) * Kinetic(), "weight must be a number >= 0, got Array"),
    "traced weights": (
        lambda: jax.jit(lambda w: solved(w * Kinetic()).penalty)(jnp.ones(3)),
        "weight must be a number",
    ),
    "a schedule": (
        lambda: solved(kx.penalties.decaying(Kinetic(), 2.5, 1.0, 10)),
        r"penalty must be a kuttax penalty .* got Scheduled: take its value at a training step, .at\(step\)",
    ),
    "no schedule": (lambda: kx.penalties.Scheduled(Kinetic(), 0.5), "schedule must be a function of the training step"),
    "global, fixed": (
        lambda: solved(GlobalError(), FIXED),
        "GlobalError is made of Adaptive's steps, got FixedSteps: use LocalError",
    ),
    "global, diffrax": (
        lambda: solved(GlobalStiffness(), kx.FromDiffrax(diffrax.Tsit5())),
        "GlobalStiffness is made of Adaptive's steps, got FromDiffrax: use LocalStiffness",
    ),
    "global, backsolve": (
        lambda: solved(Kinetic() + GlobalError(), adjoint=BACKSOLVE),
        "gradient of GlobalError runs .* BacksolveAdjoint knows nothing: use DiscreteAdjoint, or LocalError",
    ),
    "state, backsolve": (
        lambda: solved(LocalError(through="state"), adjoint=BACKSOLVE),
        "gradient of LocalError runs .* BacksolveAdjoint knows nothing: use DiscreteAdjoint, or through='step'",
    ),
    "local stiffness": (
        lambda: solved(LocalStiffness(), kx.Adaptive(BOSH3)),
        "Bosh3 has no two stages at one time to estimate stiffness with: use TSIT5 or DOPRI5",
    ),
    "global stiffness": (
        lambda: solved(GlobalStiffness(), kx.Adaptive(BOSH3)),
        "Bosh3 has no two stages at one time to estimate stiffness with: use TSIT5 or DOPRI5",
    ),
    "steps of diffrax": (
        lambda: solved(LocalError("biased"), kx.FromDiffrax(diffrax.Tsit5())),
        "FromDiffrax does not show LocalError its steps: use sampling='unbiased' and size='budget'",
    ),
    "sizes of diffrax": (
        lambda: solved(LocalStiffness(size="solver"), kx.FromDiffrax(diffrax.Tsit5())),
        "FromDiffrax does not show LocalStiffness its steps",
    ),
    "reversible": (
        lambda: solved(LocalError(), kx.Reversible(FIXED)),
        "LocalError cannot look into Reversible: use Adaptive, FixedSteps or LearnedRK",
    ),
    "steer and outputs": (lambda: solved(Steer(), ts=[1.0]), "Steer moves the end of the solve, .* leave ts out"),
    "steer twice": (lambda: solved(Steer() + Steer(0.1)), "two penalties move the end of the solve: keep one Steer"),
    "sampling": (lambda: LocalError("fair"), "sampling must be 'unbiased' or 'biased', got 'fair'"),
    "size": (lambda: LocalError(size="big"), "size must be 'budget' or 'solver' or 'initial', got 'big'"),
    "through": (lambda: LocalStiffness(through="time"), "through must be 'stages' or 'step' or 'state', got 'time'"),
    "transform": (lambda: LocalError(transform="root"), "transform must be 'log' or 'scaled' or 'plain', got 'root'"),
    "power": (lambda: LocalError(power=0.5), "power must be >= 1, got 0.5"),
    "budget": (lambda: LocalError(steps=0), "steps must be a whole number >= 1, got 0"),
    "no pair": (lambda: LocalError(tableau=EULER), "Euler has no embedded pair: use one like TSIT5"),
    "tolerance": (lambda: LocalError(rtol=0.0), "rtol must be a number > 0, got 0.0"),
    "order": (lambda: Taylor(4), "order must be 1, 2 or 3, got 4"),
    "width": (lambda: Steer(-1.0), "width must be a number > 0, got -1.0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    run, message = REFUSED[name]
    with pytest.raises(UserError, match=message) as caught:
        run()
    assert "\n" not in str(caught.value)


# With everything else.


@pytest.mark.slow
@pytest.mark.parametrize("control", mostly_slow(["joint", "per_sample"]))
def test_vmap_of_gradients_is_a_loop(control, key, rng):
    """Over batches of two samples and keys, compiled."""
    penalty = LocalError("biased", size="solver", through="state") + GlobalError()

    def value(weights, y0, key):
        solver = kx.Adaptive(HEUN2, 1e-3, 1e-3, control=control)
        return penalty_of(penalty, solver, key, batch_axis=0)(weights, y0)

    gradient = jax.value_and_grad(value)
    starts, keys, at = jnp.asarray(rng.normal(size=(3, 2, 3))), jax.random.split(key, 3), jnp.asarray(WEIGHTS)
    together = jax.jit(jax.vmap(gradient, in_axes=(None, 0, 0)))(at, starts, keys)
    single = jax.jit(gradient)
    for i, (y0, own) in enumerate(zip(starts, keys, strict=True)):
        value, slope = single(at, y0, own)
        np.testing.assert_allclose(together[0][i], value, rtol=1e-9)
        np.testing.assert_allclose(together[1][i], slope, rtol=0, atol=1e-9 * np.abs(slope).max())


TREE = {
    "local": LocalError() + LocalStiffness("biased"),
    "global": GlobalError() + GlobalStiffness(),
    "integrals": Taylor(3) + Kinetic() + JacobianFrobenius(),
    "steer": Steer(0.25) + Kinetic(),
}


@pytest.mark.parametrize("name", mostly_slow(TREE, "global", "steer"))
def test_a_tree_costs_what_its_numbers_cost_in_one_array(name, key):
    """RMS norms and squares are over all numbers of a state, however they are arranged."""
    if name == "integrals":  # its noise is drawn leaf by leaf: a single leaf, nested, draws the same
        pack, unpack = lambda y: [{"a": y}], lambda tree: tree[0]["a"]
    else:
        pack, unpack = lambda y: {"a": y[:1], "b": (y[1:],)}, lambda tree: jnp.concatenate([tree["a"], *tree["b"]])
    nested = lambda t, y, args: pack(field(t, unpack(y), args))
    own = {"solver": kx.Adaptive(TSIT5, 1e-4, 1e-4), "args": jnp.asarray(WEIGHTS), "penalty": TREE[name], "key": key}
    flat = kx.solve(field, jnp.asarray(Y0), T0, T1, **own).penalty
    assert flat > 0
    found = kx.solve(nested, pack(jnp.asarray(Y0)), T0, T1, **own).penalty
    np.testing.assert_allclose(found, flat, rtol=1e-8)  # of differences of slopes, whose rounding is larger


FLAT = (
    LocalError("biased", size="initial", transform="scaled", through="state")
    + LocalStiffness(through="state")
    + GlobalError()
    + GlobalStiffness()
    + JacobianFrobenius()
    + Taylor(2)
    + Consistency(through="state", reference=HEUN2)
)


@pytest.mark.slow
@pytest.mark.parametrize(("control", "dtype"), [("per_sample", np.float64), ("joint", np.float32)])
def test_gradients_are_finite_where_nothing_happens(control, dtype, key):
    """A field that is zero or constant, and an interval of no length: errors of zero, and equal stages."""
    solver = kx.Adaptive(HEUN2, 1e-3, 1e-3, control=control)

    @jax.jit
    @jax.value_and_grad
    def run(x, t1):
        sol = kx.solve(
            lambda t, y, a: a["matrix"] @ y + a["shift"] * t,
            x["y0"],
            0.0,
            t1,
            solver=solver,
            args=x["args"],
            batch_axis=0,
            penalty=FLAT,
            key=key,
        )
        return sol.penalty

    matrix, shift, y0 = (rng.astype(dtype) for rng in (WEIGHTS, Y0, np.stack([Y0, 0 * Y0])))
    cases = {
        "zero": (0 * matrix, 0 * shift, 1.0),
        "constant": (0 * matrix, shift, 1.0),
        "instant": (matrix, shift, 0.0),
        "ordinary": (matrix, shift, 1.0),
    }
    for name, (matrix, shift, t1) in cases.items():
        x = {"y0": y0, "args": {"matrix": matrix, "shift": shift}}
        value, gradient = run(jax.tree.map(jnp.asarray, x), jnp.asarray(t1, dtype))
        assert np.isfinite(value), name
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient)), name
        assert (value == 0) == (name in ("zero", "instant")), name


def test_a_failed_solve_has_no_penalty(key):
    """NaN, as y1 is: no number looks right that is not."""
    sol = solved(LocalError() + Kinetic(), max_steps=2, throw=False, key=key)
    assert sol.status == kx.Status.max_steps
    assert np.isnan(sol.penalty)


@pytest.mark.parametrize("part", ["penalty", "gradient"])
def test_a_failed_solve_raises_where_only_its_penalty_is_used(part, key):
    """Inside a compiled function."""

    def value(weights, t1):
        options = {"args": weights, "penalty": LocalError(tableau=HEUN2), "key": key, "max_steps": 40}
        return kx.solve(field, jnp.asarray(Y0), 0.0, t1, solver=kx.Adaptive(BOSH3, 1e-6, 1e-6), **options).penalty

    run = eqx.filter_jit(jax.grad(value) if part == "gradient" else value)
    weights, short, long = jnp.asarray(WEIGHTS), jnp.asarray(0.01), jnp.asarray(9.0)
    assert np.isfinite(run(weights, short)).all()
    with pytest.raises(eqx.EquinoxRuntimeError, match="used up max_steps"):
        jax.block_until_ready(run(weights, long))


def test_what_penalties_evaluate(key):
    """A local one a step, its end, and Hairer's rule; others nothing. The solve's own count does not change."""
    penalty = LocalError("biased", size="initial") + GlobalError() + GlobalStiffness() + Kinetic()
    with counted(lambda t, y, _: slopes(t, y, WEIGHTS, jnp)) as (counting, calls):
        sol = kx.solve(counting, jnp.asarray(Y0), T0, T1, solver=ADAPTIVE, penalty=penalty, key=key)
    free = kx.solve(field, jnp.asarray(Y0), T0, T1, solver=ADAPTIVE, args=jnp.asarray(WEIGHTS))
    assert sol.stats.nfe == free.stats.nfe
    assert sol.stats.nfe < calls["values"] <= free.stats.nfe + 8


def test_changed_numbers_do_not_recompile():
    """Key, weight, tolerances and width: plain numbers, outside of any jit."""
    traces = []

    def noted(t, y, weights):
        traces.append(1)
        return field(t, y, weights)

    def run(seed, weight, rtol, width):
        penalty = weight * LocalError(rtol=rtol) + Consistency(rtol=100 * rtol) + Kinetic() + Steer(width)
        options = {"solver": FIXED, "args": jnp.asarray(WEIGHTS), "key": jax.random.key(seed)}
        return kx.solve(noted, jnp.asarray(Y0), T0, T1, penalty=penalty, **options).penalty

    first, count = run(0, 0.5, 1e-3, 0.1), len(traces)
    others = [run(1, 0.5, 1e-3, 0.1), run(0, 0.7, 1e-3, 0.1), run(0, 0.5, 1e-4, 0.1), run(0, 0.5, 1e-3, 0.4)]
    assert len(traces) == count > 0
    assert len({float(x) for x in (first, *others)}) == 5

"""The Consistency penalty against closed forms of linear problems, SciPy, and finite differences."""

import functools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from counting import counted
from differences import assert_gradient_is_a_difference
from looking import looked
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from slowness import mostly_slow

import kuttax as kx
from kuttax.errors import UserError
from kuttax.penalties import Consistency, Kinetic, LocalError
from kuttax.solvers.rk.tableaus import BOSH3, DOPRI5, DOPRI8, HEUN2, MIDPOINT, RK4

T0, T1 = 0.2, 1.7
MATRIX = np.random.default_rng(3).normal(size=(3, 3))
Y0 = np.array([0.4, -0.7, 1.1])
RTOL, ATOL = 1e-2, 1e-3
TOLERANCES = {"rtol": RTOL, "atol": ATOL}
WHERE = LocalError("biased", size="solver")  # the same draw: start, size and state of the step (test_engine_eyes)


def linear(t, y, matrix):
    return matrix @ y


def stability(a, b, z):
    """R(Z) = I + sum_k (b^T A^(k-1) 1) Z^k (Hairer & Wanner II, IV.3)."""
    total, power, row = np.eye(len(z)), z, np.asarray(b)
    for _ in range(len(row)):
        total, power, row = total + row.sum() * power, power @ z, row @ np.asarray(a)
    return total


def error(y, own, finer):
    """E of one step."""
    return np.sqrt(np.mean(np.square((own - finer) / (ATOL + RTOL * np.maximum(np.abs(y), np.abs(finer))))))


def learned():
    """Own coefficients and sizes for each of three steps, away from where they start."""
    start = kx.LearnedRK.from_tableau(HEUN2, 3, order=1, per_step=True, learn_steps=True)
    rng = np.random.default_rng(7)
    return jax.tree.map(lambda x: x + jnp.asarray(0.3 * rng.normal(size=x.shape)), start)


def nearly(z):
    """Where so many small steps of DOPRI5 get to."""
    return expm(z)


def thirds(z):
    third = z / 3
    return np.linalg.matrix_power(np.eye(3) + third + third @ third / 2, 3)


CASES = {
    "outputs": (kx.FixedSteps(MIDPOINT, 2), (T0, T1), [0.7, 1.1], {"substeps": 12}, nearly, lambda e, h: e),
    "learned": (learned(), (T0, T1), [0.9], {"substeps": 12}, nearly, lambda e, h: np.log1p(e)),
    "backward": (
        kx.FixedSteps(kx.tableaus.EULER, 3),
        (T1, T0),
        None,
        {"reference": HEUN2, "substeps": 3},
        thirds,
        lambda e, h: e * abs(h),
    ),
    "adaptive": (
        kx.Adaptive(BOSH3, 1e-2, 1e-2, first_step=0.2),
        (T0, T1),
        None,
        {"substeps": 12},
        nearly,
        lambda e, h: np.log1p(e),
    ),
}
TRANSFORMS = {"outputs": "plain", "learned": "log", "backward": "scaled", "adaptive": "log"}


@pytest.mark.parametrize("name", mostly_slow(CASES, "outputs", "adaptive"))
def test_a_linear_problem_in_closed_form(name, key):
    """R(h A) y of the row that the step has, against exp(h A) y, or the reference's own powers."""
    solver, (t0, t1), ts, options, finer, transform = CASES[name]
    part = Consistency(transform=TRANSFORMS[name], **TOLERANCES, **options)
    keys, y0, matrix = jax.random.split(key, 30), jnp.asarray(Y0), jnp.asarray(MATRIX)
    given = {"solver": solver, "args": matrix, "ts": ts}

    @jax.jit
    @jax.vmap
    def run(key):
        return kx.solve(linear, y0, t0, t1, penalty=part, key=key, **given).penalty

    seen = looked(WHERE, keys, linear, y0, t0, t1, **given)
    if name == "learned":
        table = solver.table(jnp.float64)
        ends = np.concatenate([t + size * np.cumsum(table.h) for t, size in ((T0, 0.9 - T0), (0.9, T1 - 0.9))])
        rows = [(table.a[n % 3], table.b[n % 3]) for n in np.searchsorted(ends, seen.t[:, 0] + 1e-9)]
    else:
        rows = [(solver.tableau.a, solver.tableau.b)] * len(keys)
    truth = []
    for y, h, (a, b) in zip(seen.y, seen.h[:, 0], rows, strict=True):
        z = h * MATRIX
        truth.append(transform(error(y, stability(a, b, z) @ y, finer(z) @ y), h))
    np.testing.assert_allclose(run(keys), truth, rtol=1e-6)
    assert len(np.unique(np.round(truth, 9))) >= 3  # steps that differ


def tree_field(t, y, spring):
    """Of one sample, whose state is a tree; time counts."""
    x, v = y["x"], y["v"]
    return {"x": v, "v": (1 - x * x) * v - spring * x + jnp.cos(2 * t)}


def flat_field(t, y, spring):
    """The same of one array."""
    dy = tree_field(t, {"x": y[:2], "v": y[2:]}, spring)
    return jnp.concatenate([dy["x"], dy["v"]])


def test_a_tree_of_samples_against_scipy(key, rng):
    """Each on its own steps, with outputs, beside a penalty that integrates; compiled and mapped over keys."""
    solver = kx.Adaptive(HEUN2, 3e-2, 3e-2, control="per_sample")
    y0 = {name: jnp.asarray(rng.normal(size=(2, 3))) for name in ("x", "v")}  # the second axis counts samples
    keys, options = jax.random.split(key, 4), {"solver": solver, "args": jnp.asarray(1.3), "ts": [0.5, 0.9]}

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    def run(key, weight):
        both = weight * Consistency(substeps=16, **TOLERANCES) + 0.5 * Kinetic()
        return kx.solve(tree_field, y0, T0, T1, penalty=both, key=key, batch_axis=1, **options).penalty

    flat = jnp.concatenate([y0["x"], y0["v"]]).T
    seen = looked(WHERE, keys, flat_field, flat, T0, T1, lanes=3, beside=Kinetic(), batch_axis=0, **options)
    ours = run(keys, jnp.asarray(1.0)) - run(keys, jnp.asarray(0.0))
    for got, t, h, y in zip(ours, seen.t, seen.h, seen.y, strict=True):
        each = [np.log1p(error(*by_scipy(HEUN2, *sample))) for sample in zip(t, h, y, strict=True)]
        np.testing.assert_allclose(got, np.mean(each), rtol=1e-6)


def by_scipy(tableau, t, h, y):
    """y, the end of a step by a plain loop, and the solution there by DOP853."""

    def f(t, y):
        x, v = y[:2], y[2:]
        return np.concatenate([v, (1 - x * x) * v - 1.3 * x + np.cos(2 * t)])

    k = []
    for row, c in zip(tableau.a, tableau.c, strict=True):
        k.append(f(t + c * h, y + h * sum((a * slope for a, slope in zip(row, k, strict=False)), np.zeros(4))))
    own = y + h * sum(b * slope for b, slope in zip(tableau.b, k, strict=True))
    finer = solve_ivp(f, (t, t + h), y, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    return y, own, finer


# Derivatives.


def split(solver):
    """What of a solver is learned, and the rest."""
    return eqx.partition(solver, kx.trainable(solver))


def test_gradient_through_the_state(key, rng):
    """In weights and start, and in coefficients and step sizes that are learned; the field does not know the time."""
    free, rest = split(learned())
    part = Consistency(through="state", reference=HEUN2, **TOLERANCES)

    def value(x):
        field = lambda t, y, _: jnp.tanh(x["weights"] @ y)
        return kx.solve(field, x["y0"], T0, T1, solver=eqx.combine(x["solver"], rest), penalty=part, key=key).penalty

    assert_gradient_is_a_difference(value, {"weights": jnp.asarray(MATRIX), "y0": jnp.asarray(Y0), "solver": free}, rng)


@pytest.mark.parametrize("moves", mostly_slow(["both", "field", "solver"], "solver"))
def test_gradient_through_the_step(moves, key, rng):
    """Of field and solver, or of one alone, what the field closes over too; the start is a constant."""
    solver, part = learned(), Consistency(moves=moves, reference=RK4, substeps=40, **TOLERANCES)
    free, rest = split(solver)
    matrix, y0 = jnp.asarray(MATRIX), jnp.asarray(Y0)
    seen = looked(WHERE, key[None], linear, y0, T0, T1, solver=solver, args=matrix)
    y, n = seen.y[0], np.searchsorted(T0 + (T1 - T0) * np.cumsum(solver.table(jnp.float64).h), seen.t[0, 0] + 1e-9)

    def by_hand(matrix, free):
        table = eqx.combine(free, rest).table(jnp.float64)
        z = (T1 - T0) * float(table.h[n]) * np.asarray(matrix)
        return np.log1p(error(y, stability(table.a[n], table.b[n], z) @ y, expm(z) @ y))

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1, 2))
    def gradient(matrix, free, y0):
        field = lambda t, y, _: matrix @ y
        return kx.solve(field, y0, T0, T1, solver=eqx.combine(free, rest), penalty=part, key=key).penalty

    of_field, of_solver, of_y0 = gradient(matrix, free, y0)
    along = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), (matrix, free))
    for name, found, held in (("field", of_field, 1), ("solver", of_solver, 0)):
        direction = list(along)
        direction[held] = jax.tree.map(jnp.zeros_like, direction[held])
        truth = 0.0 if moves not in ("both", name) else slope(by_hand, (matrix, free), tuple(direction))
        dots = jax.tree.map(jnp.vdot, found, along[1 - held])
        np.testing.assert_allclose(sum(jax.tree.leaves(dots)), truth, rtol=1e-6)
        assert (truth != 0) == (moves in ("both", name))
    assert np.all(of_y0 == 0)


def slope(function, at, along, eps=1e-3):
    """By central differences of fourth order."""
    values = [function(*jax.tree.map(lambda x, d: x + s * eps * d, at, along)) for s in (-2, -1, 1, 2)]  # noqa: B023
    return np.dot([1, -8, 8, -1], values) / (12 * eps)


def test_any_adjoint_serves_the_step(key):
    part = Consistency(reference=HEUN2, **TOLERANCES)

    @functools.partial(jax.jit, static_argnums=1)
    def gradient(matrix, adjoint):
        options = {"solver": kx.FixedSteps(MIDPOINT, 3), "adjoint": adjoint, "penalty": part, "key": key}
        value = lambda matrix: kx.solve(linear, jnp.asarray(Y0), T0, T1, args=matrix, **options).penalty
        return jax.grad(value)(matrix)

    ours, continuous = (gradient(jnp.asarray(MATRIX), adjoint) for adjoint in (None, kx.BacksolveAdjoint()))
    assert np.abs(ours).max() > 1e-3
    np.testing.assert_allclose(continuous, ours, rtol=1e-12)


# What it costs, and what is refused.


def test_evaluations(key):
    """One step and two of DOPRI5; the solve's own count does not change."""
    with counted(lambda t, y, _: jnp.sin(t) * y) as (counting, calls):
        solver = kx.FixedSteps(MIDPOINT, 3)
        sol = kx.solve(counting, jnp.asarray(Y0), T0, T1, solver=solver, penalty=Consistency(), key=key)
    assert sol.stats.nfe == 6
    assert calls["values"] == 6 + 2 + 12


def test_a_scheme_that_is_exact_costs_nothing(key):
    """A constant slope; and the gradient is finite there."""

    def value(slope):
        solver = kx.FixedSteps(MIDPOINT, 2)
        field = lambda t, y, _: slope * jnp.ones_like(y)
        return kx.solve(field, jnp.zeros(2), 0.0, 1.0, solver=solver, penalty=Consistency(), key=key).penalty

    penalty, gradient = jax.value_and_grad(value)(jnp.asarray(0.5))
    np.testing.assert_allclose([penalty, gradient], 0.0, atol=1e-12)


def solved(penalty, solver, **options):
    options = {"args": jnp.asarray(MATRIX), "key": jax.random.key(0), **options}
    return kx.solve(linear, jnp.asarray(Y0), T0, T1, solver=solver, penalty=penalty, **options)


FIXED = kx.FixedSteps(RK4, 3)
REFUSED = {
    "no key": (lambda: solved(Consistency(), FIXED, key=None), "Consistency draws at random: give solve a key"),
    "diffrax": (
        lambda: solved(Consistency(), kx.FromDiffrax(diffrax.Tsit5())),
        "Consistency cannot look into FromDiffrax: use Adaptive, FixedSteps or LearnedRK",
    ),
    "reversible": (
        lambda: solved(Consistency(), kx.Reversible(FIXED)),
        "Consistency cannot look into Reversible: use Adaptive, FixedSteps or LearnedRK",
    ),
    "coarse": (
        lambda: solved(Consistency(), kx.FixedSteps(DOPRI8, 2)),
        "reference Dopri5 has order 5, the solver 8: use one of at least that order",
    ),
    "the same": (
        lambda: solved(Consistency(substeps=1), kx.Adaptive(DOPRI5)),
        "one step of Dopri5 is no finer than the solver's, of the same order: use more substeps",
    ),
    "nothing learns": (
        lambda: solved(Consistency(moves="solver"), FIXED),
        "moves='solver' needs one that learns, got FixedSteps: use LearnedRK",
    ),
    "backsolve": (
        lambda: solved(Consistency(through="state"), FIXED, adjoint=kx.BacksolveAdjoint()),
        "gradient of Consistency runs .* use DiscreteAdjoint, or through='step'",
    ),
    "through": (lambda: Consistency(through="time"), "through must be 'step' or 'state', got 'time'"),
    "moves": (lambda: Consistency(moves="all"), "moves must be 'both' or 'field' or 'solver', got 'all'"),
    "transform": (lambda: Consistency(transform="root"), "transform must be 'log' or 'scaled' or 'plain', got 'root'"),
    "substeps": (lambda: Consistency(substeps=0), "must be a whole number >= 1, got 0"),
    "tolerance": (lambda: Consistency(rtol=0.0), "rtol must be a number > 0, got 0.0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    run, message = REFUSED[name]
    with pytest.raises(UserError, match=message) as caught:
        run()
    assert "\n" not in str(caught.value)

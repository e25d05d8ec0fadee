"""Inputs: paths in args with their knots as jumps, against the exact solution from knot to knot."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from slowness import mostly_slow, slow

import kuttax as kx
from kuttax.errors import UserError
from kuttax.solvers.rk.tableaus import DOPRI5, DOPRI8, MIDPOINT, RK4, TSIT5

RATE, T1 = 1.3, 3.0
KNOTS = np.array([0.0, 0.4, 1.1, 1.9, 2.6, 3.2])
SOLVERS = [
    kx.Adaptive(TSIT5, 1e-11, 1e-11),
    kx.Adaptive(DOPRI8, 1e-11, 1e-11),
    kx.FixedSteps(DOPRI5, 60),
    kx.LearnedRK.from_tableau(DOPRI5, steps=30),
    kx.FromDiffrax(diffrax.Dopri8(), 1e-11, 1e-11),
]

HELD_OR_LINEAR = [(False, 1), (False, 3), (False, 4), (True, 0), (True, 2)]


def title(part):
    """A solver's first line."""
    return str(part).splitlines()[0]


def field(t, y, args):
    return RATE * (args.evaluate(t) - y)


def exact(y0, knots, values, t1, *, linear, xp=np):
    """The state at t1 of dy/dt = rate (u(t) - y), from knot to knot; u is held or linear."""
    y = y0
    for n in range(len(knots) - 1):
        h = xp.clip(t1 - knots[n], 0.0, knots[n + 1] - knots[n])
        b = (values[n + 1] - values[n]) / (knots[n + 1] - knots[n]) if linear else 0.0
        y = values[n] - b / RATE + b * h + (y - values[n] + b / RATE) * xp.exp(-RATE * h)
    return y


@pytest.mark.parametrize(
    ("linear", "solver"),
    [(False, SOLVERS[0]), *(slow(linear, solver) for linear, n in HELD_OR_LINEAR if (solver := SOLVERS[n]))],
    ids=title,
)
def test_knots_as_jumps(solver, linear, rng):
    """State, and gradient in the values; in the knots of a held input too, where diffrax's do not hide them."""
    values = rng.normal(size=6)
    make = diffrax.LinearInterpolation if linear else kx.ZeroOrderHold

    def value(values, knots, y0):
        path = make(knots, values)
        return kx.solve(field, y0[None], 0.0, T1, solver=solver, args=path, jumps="knots").y1[0]

    at = jnp.asarray(values), jnp.asarray(KNOTS), jnp.asarray(0.3)
    truth = lambda values, knots, y0: exact(y0, knots, values, T1, linear=linear, xp=jnp)
    np.testing.assert_allclose(value(*at), truth(*at), rtol=1e-8)
    for n in (0, 1, 2):
        got, want = jax.grad(value, n)(*at), jax.grad(truth, n)(*at)
        if n == 1:  # the first knot is at the start, and moves nothing; the last lies after the end
            got, want = got[1:-1], want[1:-1]
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7 if solver is SOLVERS[-1] else 1e-9)


PER_SAMPLE = [
    kx.Adaptive(TSIT5, 1e-11, 1e-11, control="per_sample"),
    kx.FixedSteps(DOPRI5, 60),
    kx.LearnedRK.from_tableau(DOPRI5, steps=30),
]
OWN = np.array([[0.0, 0.5, 1.0, 3.0], [0.2, 0.7, 2.0, 2.9], [0.1, 1.5, 3.1, np.nan]])


@pytest.mark.parametrize("solver", mostly_slow(PER_SAMPLE, PER_SAMPLE[0], PER_SAMPLE[2]), ids=title)
@pytest.mark.parametrize("known", [True, False], ids=["known", "traced"])
def test_each_sample_has_its_own_input(solver, known, rng):
    """Rows of knots, one of which ends early."""
    values = rng.normal(size=(3, 4))
    y0 = rng.normal(size=(3, 1))

    def solve(knots, values):
        path = kx.ZeroOrderHold(knots, values)
        return kx.solve(field, y0, 0.0, 2.5, solver=solver, args=path, args_axes=0, jumps="knots", batch_axis=0)

    sol = solve(OWN, values) if known else jax.jit(solve)(jnp.asarray(OWN), jnp.asarray(values))
    for b in range(3):
        own = [*OWN[b][np.isfinite(OWN[b])], 9.0]
        held = [*values[b][: len(own) - 1], 0.0]
        start = exact(y0[b, 0], [0.0, own[0]], [held[0], 0.0], own[0], linear=False)  # before the first knot
        np.testing.assert_allclose(sol.y1[b, 0], exact(start, own, held, 2.5, linear=False), rtol=1e-8)


def test_any_callable_and_two_paths(rng):
    """A function in args needs no knots; of two paths the knots of both are used."""
    wave = lambda t: jnp.sin(3 * t)
    smooth = kx.solve(lambda t, y, args: RATE * (args(t) - y), np.zeros(1), 0.0, T1, solver=SOLVERS[1], args=wave)
    w, r = 3.0, RATE
    closed = r * (r * np.sin(w * T1) - w * np.cos(w * T1) + w * np.exp(-r * T1)) / (r**2 + w**2)
    np.testing.assert_allclose(smooth.y1[0], closed, rtol=1e-8)
    values, other = rng.normal(size=6), rng.normal(size=3)
    paths = (kx.ZeroOrderHold(KNOTS, values), kx.ZeroOrderHold([0.0, 0.8, 2.2], other))
    both = lambda t, y, args: RATE * (args[0](t) + args[1](t) - y)
    sol = kx.solve(both, np.zeros(1), 0.0, T1, solver=SOLVERS[2], args=paths, jumps="knots")
    alone = exact(0.0, KNOTS, values, T1, linear=False) + exact(
        0.0, [0.0, 0.8, 2.2, 9.0], [*other.tolist(), 0.0], T1, linear=False
    )
    np.testing.assert_allclose(sol.y1[0], alone, rtol=1e-8)
    assert int(sol.stats.nfe) == 7 * SOLVERS[2].nfe  # 0.4, 0.8, 1.1, 1.9, 2.2, 2.6 and 3


@pytest.mark.parametrize("solver", mostly_slow(PER_SAMPLE, PER_SAMPLE[2]), ids=title)
def test_jumps_at_the_outputs_up_to_the_last(solver, rng):
    """jumps="ts" and t1=None: traced rows cost one interval for each output, and no more."""
    ts = np.sort(rng.uniform(0.5, 3.0, size=(3, 4)), axis=1)
    ts[2, 3] = np.nan
    values, y0 = rng.normal(size=(3, 5)), rng.normal(size=(3, 1))

    def solve(ts):
        start = jnp.zeros((3, 1))
        path = kx.ZeroOrderHold(jnp.concatenate([start, jnp.asarray(ts)], axis=1), values)
        return kx.solve(field, y0, 0.0, None, solver=solver, args=path, args_axes=0, jumps="ts", ts=ts, batch_axis=0)

    for sol in (solve(ts), jax.jit(solve)(jnp.asarray(ts))):
        for b in range(3):
            own = [0.0, *ts[b][np.isfinite(ts[b])], 99.0]
            for n in range(4):
                expected = exact(y0[b, 0], own, [*values[b][: len(own) - 1], 0.0], ts[b, n], linear=False)
                np.testing.assert_allclose(sol.ys[n, b, 0], expected, rtol=1e-7)
            last = ts[b][np.isfinite(ts[b])][-1]
            np.testing.assert_allclose(sol.y1[b, 0], sol.ys[list(ts[b]).index(last), b, 0], rtol=1e-12)
        if isinstance(solver, kx.FixedSteps):
            assert int(sol.stats.nfe) == 4 * solver.nfe

    def mean(ts):
        return jnp.sum(jnp.nan_to_num(solve(ts).ys) ** 2)

    gradient = jax.grad(mean)(jnp.asarray(ts))
    eps = 1e-5
    for b, n in ((0, 1), (1, 3), (2, 2)):
        step = np.zeros_like(ts)
        step[b, n] = eps
        difference = (mean(jnp.asarray(ts + step)) - mean(jnp.asarray(ts - step))) / (2 * eps)
        np.testing.assert_allclose(gradient[b, n], difference, rtol=1e-5, atol=1e-7)
    assert np.isfinite(gradient).all()


def test_reads_like_diffrax_paths(rng):
    """Values, increments and the value before a knot."""
    path = kx.ZeroOrderHold(KNOTS, {"a": rng.normal(size=(6, 2))})
    value = lambda t, **more: np.asarray(path.evaluate(t, **more)["a"])
    held = np.asarray(path.values["a"])
    np.testing.assert_array_equal(value(-1.0), held[0])
    np.testing.assert_array_equal(value(0.4), held[1])
    np.testing.assert_array_equal(value(0.4, left=True), held[0])
    np.testing.assert_array_equal(value(99.0), held[5])
    np.testing.assert_array_equal(path.evaluate(0.5, 2.0)["a"], held[3] - held[1])
    assert (float(path.t0), float(path.t1)) == (0.0, 3.2)


def test_a_fixed_step_may_span_smooth_knots():
    """A cubic path has no jumps: the order is kept without them."""
    knots = np.linspace(0.0, 3.0, 13)
    path = diffrax.CubicInterpolation(knots, diffrax.backward_hermite_coefficients(knots, np.sin(2 * knots)))
    run = lambda steps: kx.solve(field, np.zeros(1), 0.0, T1, solver=kx.FixedSteps(MIDPOINT, steps), args=path).y1
    fine = kx.solve(field, np.zeros(1), 0.0, T1, solver=SOLVERS[1], args=path, jumps="knots").y1
    assert np.abs(run(48) - fine) < np.abs(run(24) - fine) / 3


REFUSED = {
    "no path": (
        {"args": 1.0, "jumps": "knots"},
        "jumps='knots' takes the knots of the paths in args, and there is none",
    ),
    "word": ({"jumps": "knot"}, "jumps must be times, 'knots' or 'ts', got 'knot'"),
    "no outputs": ({"jumps": "ts"}, "jumps='ts' are the times of the outputs: give ts"),
    "no end": ({"t1": None}, "t1=None means the last output time, and there is none: give t1, or ts"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line(case):
    changed, message = REFUSED[case]
    call = {"t1": 1.0, "solver": kx.FixedSteps(RK4, 4), **changed}
    with pytest.raises(UserError, match=message) as caught:
        kx.solve(lambda t, y, args: -y, np.ones(1), 0.0, call.pop("t1"), **call)
    assert "\n" not in str(caught.value)


def test_lists_of_numbers():
    path = kx.ZeroOrderHold([0, 1, 2], [3, 4.5, 6])
    assert float(path(1.5)) == 4.5


@pytest.mark.parametrize("values", [np.ones(5), np.ones((2, 6))])
def test_knots_and_values_must_match(values):
    with pytest.raises(UserError, match="an input needs one value for each of its knots"):
        kx.ZeroOrderHold(KNOTS, values)

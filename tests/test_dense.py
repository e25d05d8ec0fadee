"""Dense output: the state at any time, against closed forms, under jit, grad and vmap."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from slowness import mostly_slow, slow

import kuttax as kx
from kuttax.errors import UserError
from kuttax.solvers.rk.tableaus import BOSH3, DOPRI5, DOPRI8, RK4, TSIT5

ADAPTIVE = [kx.Adaptive(pair, 3e-11, 3e-11) for pair in (DOPRI5, TSIT5, DOPRI8, BOSH3)]
FIXED = [kx.FixedSteps(DOPRI8, 30), kx.FixedSteps(RK4, 300), kx.LearnedRK.from_tableau(DOPRI5, steps=300)]
DIFFRAX = kx.FromDiffrax(diffrax.Dopri8(), 1e-11, 1e-11)
SOLVERS = [*ADAPTIVE, *FIXED, DIFFRAX]
T0, T1, MOST = 0.5, 3.5, 4096
Y0 = np.array([1.0, -2.0])


def title(part):
    """A solver's first line."""
    return str(part).splitlines()[0]


def field(t, y, args):
    return args * jnp.cos(2 * t) * y


def truth(y0, t0, t, rate, xp=np):
    return y0 * xp.exp(rate / 2 * (xp.sin(2 * t) - xp.sin(2 * t0)))


def solve(solver, y0=Y0, t0=T0, t1=T1, rate=0.7, **more):
    return kx.solve(field, y0, t0, t1, solver=solver, args=rate, dense=True, **more)


@pytest.mark.parametrize("solver", mostly_slow(SOLVERS, ADAPTIVE[0], FIXED[1]), ids=title)
@pytest.mark.parametrize("way", [1, -1], ids=["forward", "backward"])
def test_values_and_slopes(solver, way):
    """At many times at once, at the ends too; NaN outside."""
    t0, t1 = (T0, T1) if way == 1 else (T1, T0)
    most = 30_000 if solver is ADAPTIVE[3] else MOST
    sol = solve(solver, t0=t0, t1=t1, max_steps=most)
    ts = np.linspace(T0, T1, 41)
    expected = np.stack([truth(Y0, t0, t, 0.7) for t in ts])
    np.testing.assert_allclose(sol.evaluate(ts), expected, rtol=1e-8)
    slopes = 0.7 * np.cos(2 * ts)[:, None] * expected
    np.testing.assert_allclose(sol.derivative(ts), slopes, atol=1e-6)
    np.testing.assert_allclose(sol.evaluate(t1), sol.y1, rtol=1e-13)
    assert np.all(np.isnan(sol.evaluate(T0 - 0.01))) and np.all(np.isnan(sol.derivative(T1 + 0.01)))
    same = kx.solve(field, Y0, t0, t1, solver=solver, args=0.7, max_steps=most)
    np.testing.assert_allclose(sol.y1, same.y1, rtol=1e-14)


@pytest.mark.parametrize("solver", mostly_slow([*ADAPTIVE[:3], *FIXED, DIFFRAX], ADAPTIVE[0], FIXED[1]), ids=title)
@pytest.mark.parametrize("adjoint", [None, kx.ForwardMode()], ids=["discrete", "forward"])
def test_gradients(solver, adjoint):
    """Of values and slopes, in everything: against the closed form."""
    if adjoint is not None and solver in (*ADAPTIVE[1:], *FIXED[1:]):
        pytest.skip("one of each kind")
    at = tuple(jnp.asarray(x) for x in (Y0, T0, T1, 0.7, np.array([0.6, 1.7, 3.3])))

    def value(y0, t0, t1, rate, ts):
        most = 60 if adjoint is not None else 4096
        sol = solve(solver, y0, t0, t1, rate, adjoint=adjoint, max_steps=most)
        return jnp.sum(jnp.sin(sol.evaluate(ts))) + jnp.sum(sol.y1) + jnp.sum(sol.evaluate(ts[0]) ** 2)

    def expected(y0, t0, t1, rate, ts):
        ys = [truth(y0, t0, t, rate, jnp) for t in ts]
        return sum(jnp.sum(jnp.sin(y)) for y in ys) + jnp.sum(truth(y0, t0, t1, rate, jnp)) + jnp.sum(ys[0] ** 2)

    mode = jax.grad if adjoint is None else jax.jacfwd
    if adjoint is not None:
        solver = kx.Adaptive(DOPRI8, 1e-10, 1e-10) if isinstance(solver, kx.Adaptive) else solver
    found = jax.jit(mode(value, argnums=(0, 1, 2, 3, 4)))(*at)
    for got, want in zip(found, jax.grad(expected, argnums=(0, 1, 2, 3, 4))(*at), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("solver", [kx.Adaptive(DOPRI8, 1e-11, 1e-11), FIXED[0]], ids=title)
def test_gradients_of_slopes(solver):
    """The derivative of `derivative` in the parameter."""
    ts = jnp.asarray([0.6, 1.7, 3.3])
    value = lambda rate: jnp.sum(solve(solver, rate=rate).derivative(ts))
    slope = lambda rate: sum(jnp.sum(rate * jnp.cos(2 * t) * truth(Y0, T0, t, rate, jnp)) for t in ts)
    np.testing.assert_allclose(jax.grad(value)(jnp.asarray(0.7)), jax.grad(slope)(jnp.asarray(0.7)), rtol=1e-6)


OWN_T0, OWN_T1 = np.array([0.0, 0.5, -1.0]), np.array([2.0, 3.0, 0.5])
OWN_Y0 = np.array([[1.0, 2.0], [0.5, -1.0], [3.0, 0.1]])


@pytest.mark.parametrize(
    "solver", [slow(kx.Adaptive(DOPRI8, 1e-10, 1e-10, control="per_sample")), slow(FIXED[0]), FIXED[2]], ids=title
)
def test_samples_with_their_own_times(solver):
    """A row of times for each sample, as `ts` takes them; common times give NaN to samples that do not reach them."""
    rows = OWN_T0[:, None] + (OWN_T1 - OWN_T0)[:, None] * np.linspace(0.0, 1.0, 5)

    def value(rate, rows, t0):
        sol = solve(solver, OWN_Y0, t0, OWN_T1, rate, batch_axis=0)
        return sol.evaluate(rows)

    def expected(rate, rows, t0):
        grown = jnp.exp(rate / 2 * (jnp.sin(2 * rows) - jnp.sin(2 * t0)[:, None]))
        return jnp.moveaxis(OWN_Y0[:, None, :] * grown[:, :, None], 1, 0)

    at = jnp.asarray(0.7), jnp.asarray(rows), jnp.asarray(OWN_T0)
    np.testing.assert_allclose(value(*at), expected(*at), rtol=1e-8)
    total = lambda of: lambda *x: jnp.sum(jnp.sin(of(*x)))
    for got, want in zip(
        jax.grad(total(value), (0, 1, 2))(*at), jax.grad(total(expected), (0, 1, 2))(*at), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)
    sol = solve(solver, OWN_Y0, OWN_T0, OWN_T1, batch_axis=0)
    common = np.asarray(sol.evaluate(1.0))
    assert np.isnan(common[2]).all() and np.isfinite(common[:2]).all()


@pytest.mark.slow
@pytest.mark.parametrize("solver", [ADAPTIVE[0], FIXED[0], DIFFRAX], ids=title)
def test_with_jumps_and_an_event(solver):
    """A field that jumps: polynomials on both sides, the derivative in the jump; nothing after the event."""
    jumped = lambda t, y, args: jnp.where(t >= args, 2.0, 1.0) * jnp.ones_like(y)

    def at(jump, t):
        event = kx.Event(lambda t, y, args: y[0] - 4.0)
        args = jax.lax.stop_gradient(jump)
        sol = kx.solve(
            jumped, np.zeros(1), 0.0, 5.0, solver=solver, args=args, jumps=jump[None], event=event, dense=True
        )
        return sol.evaluate(t)[0], (sol.event.t, sol.derivative(t)[0], sol.evaluate(3.0)[0])

    jump = jnp.asarray(1.3)
    for t, value, slope in ((0.7, 0.7, 1.0), (2.0, 2.7, 2.0)):
        (found, (end, rate, late)), gradient = jax.value_and_grad(at, has_aux=True)(jump, t)
        np.testing.assert_allclose([found, rate, end], [value, slope, 1.3 + 2.7 / 2], rtol=1e-9)
        np.testing.assert_allclose(gradient, 0.0 if t < 1.3 else -1.0, atol=1e-9)
        assert np.isnan(late)


@pytest.mark.slow
def test_under_vmap_jit_and_scan():
    """Solutions cross these borders, and are evaluated inside and outside of them."""
    solver, ts = ADAPTIVE[2], jnp.asarray([1.0, 2.0])
    rates = jnp.asarray([0.3, 0.7])
    sol = jax.jit(lambda: solve(solver, max_steps=64))()
    np.testing.assert_allclose(sol.evaluate(1.0), truth(Y0, T0, 1.0, 0.7), rtol=1e-8)
    found = jax.vmap(lambda rate: solve(solver, rate=rate, max_steps=64).evaluate(ts))(rates)
    np.testing.assert_allclose(found, [[truth(Y0, T0, float(t), float(r)) for t in ts] for r in rates], rtol=1e-8)
    scanned = jax.lax.scan(lambda c, t: (c, sol.evaluate(t)), 0, ts)[1]
    np.testing.assert_allclose(scanned, sol.evaluate(ts), rtol=1e-14)
    slope = jax.vmap(jax.jacfwd(sol.evaluate))(ts)
    np.testing.assert_allclose(slope, sol.derivative(ts), rtol=1e-9)


def test_a_failed_solve_has_no_values_after_its_failure():
    blow_up = lambda t, y, args: y * y
    sol = kx.solve(blow_up, np.ones(1), 0.0, 2.0, solver=ADAPTIVE[0], dense=True, throw=False, max_steps=300)
    assert int(sol.status) != 0
    np.testing.assert_allclose(sol.evaluate(0.5), 2.0, rtol=1e-8)
    assert np.isnan(sol.evaluate(1.5)[0])


@pytest.mark.parametrize("axis", [1, -1])
def test_the_batch_axis_is_the_users(axis):
    y0 = np.array([[1.0, 2.0, 3.0], [0.5, -1.0, 4.0]])
    sol = solve(FIXED[0], y0, batch_axis=axis, ts=[1.0, 2.0])
    np.testing.assert_allclose(sol.evaluate(T1), sol.y1, rtol=1e-12)
    np.testing.assert_allclose(sol.evaluate([1.0, 2.0]), sol.ys, rtol=1e-12)
    assert sol.derivative(1.0).shape == y0.shape


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_dtype_is_the_states(dtype):
    sol = kx.solve(lambda t, y, args: -y, jnp.ones(1, dtype), 0.0, 1.0, solver=FIXED[0], dense=True)
    assert sol.evaluate(0.5).dtype == sol.derivative(0.5).dtype == jnp.dtype(dtype)


@pytest.mark.parametrize("known", [True, False], ids=["known", "traced"])
def test_late_times_in_float32(known):
    """t0 at 1.7e9 s, where float32 has a number every 128 s: times in float64 keep their digits; NaN outside still."""
    t0 = 1.7e9 + 60.3
    run = lambda t0: kx.solve(lambda t, y, args: -y, np.ones(1, np.float32), t0, t0 + 60.0, solver=solver, dense=True)
    solver = kx.Adaptive(DOPRI5, 1e-6, 1e-6)
    sol = run(t0) if known else jax.jit(run)(jnp.asarray(t0))
    for t in (1.0, 2.5):
        np.testing.assert_allclose(sol.evaluate(t0 + t), np.exp(-t), rtol=1e-5)
        np.testing.assert_allclose(jax.jit(lambda t: sol.evaluate(t))(jnp.asarray(t0 + t)), np.exp(-t), rtol=1e-5)
    assert np.isnan(sol.evaluate(t0 - 1.0)) and np.isnan(sol.evaluate(t0 + 61.0))


@pytest.mark.slow
def test_gradients_beside_times_that_are_none():
    """Rows that end in NaN, and times outside of the interval, leave the gradient of the others as it is."""
    rows = jnp.asarray([[0.6, 1.0], [0.8, np.nan], [jnp.inf, 9.0]])

    def value(rate):
        ys = solve(ADAPTIVE[0], OWN_Y0, rate=rate, batch_axis=0).evaluate(rows)
        return jnp.sum(jnp.where(jnp.isnan(ys), 0.0, ys))

    expected = lambda rate: sum(jnp.sum(truth(OWN_Y0[b], T0, t, rate, jnp)) for b, t in ((0, 0.6), (0, 1.0), (1, 0.8)))
    at = jnp.asarray(0.7)
    np.testing.assert_allclose(jax.grad(value)(at), jax.grad(expected)(at), rtol=1e-6)


def test_evaluations_are_counted():
    """A fixed grid costs one more on each interval; an embedded pair nothing."""
    for solver, more in ((kx.FixedSteps(RK4, 5), 1), (ADAPTIVE[0], 0)):
        plain = kx.solve(field, Y0, T0, T1, solver=solver, args=0.7)
        assert int(solve(solver).stats.nfe) == int(plain.stats.nfe) + more


@pytest.mark.parametrize("shape", [(2, 2, 2), (5, 3)], ids=str)
def test_refused_in_one_line(shape):
    sol = solve(FIXED[0], OWN_Y0, batch_axis=0)
    with pytest.raises(UserError, match=r"t must be one time .* \(samples, times\) with 3 samples") as caught:
        sol.evaluate(np.zeros(shape))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="give solve dense=True to evaluate it at any time"):
        kx.solve(field, Y0, T0, T1, solver=FIXED[0], args=0.7).evaluate(1.0)
    with pytest.raises(UserError, match="does not take dense output: use"):
        solve(kx.Reversible(FIXED[0]))

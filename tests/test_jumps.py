"""Jumps: fields that change at once, against closed forms, with gradients in the times of the jumps."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from slowness import mostly_slow

import kuttax as kx
from kuttax.errors import UserError
from kuttax.solvers.rk.tableaus import BOSH3, DOPRI5, DOPRI8, HEUN2, RK4, TSIT5

JUMPS = np.array([0.3, 1.1, 2.0])
LEVELS = np.array([1.0, -2.0, 0.5, 3.0])
Y0 = np.array([1.0, -0.5])
T1 = 3.0

TIGHT = [*(kx.Adaptive(pair, 1e-11, 1e-11) for pair in (DOPRI5, TSIT5, DOPRI8)), kx.Adaptive(BOSH3, 1e-10, 1e-10)]
FIXED = [kx.FixedSteps(DOPRI8, 8), kx.FixedSteps(RK4, 60), kx.LearnedRK.from_tableau(DOPRI5, steps=30)]
DIFFRAX = kx.FromDiffrax(diffrax.Dopri8(), 1e-11, 1e-11)
SOLVERS = [*TIGHT, *FIXED, DIFFRAX]


def title(part):
    """A solver's first line."""
    return str(part).splitlines()[0]


def relax(level, rate=1.3):
    """dy/dt = rate (level(t) - y)."""
    return lambda t, y, args: rate * (level(t, args) - y)


def stepwise(t, jumps):
    """The level at t: it changes at each of the jumps, and belongs to what follows."""
    levels = jnp.asarray(LEVELS, jnp.result_type(t))
    return levels[jnp.sum(t >= jnp.asarray(jumps))]


def relaxed(y0, t, jumps, t0=0.0, rate=1.3, xp=np):
    """The closed form, from one jump to the next."""
    y, at = y0, t0
    for n in range(len(LEVELS)):
        end = t if n == len(jumps) else xp.clip(jumps[n], t0, t)
        y = LEVELS[n] + (y - LEVELS[n]) * xp.exp(-rate * (end - at))
        at = end
    return y


@pytest.mark.parametrize("solver", mostly_slow(SOLVERS, TIGHT[0], FIXED[1]), ids=title)
def test_against_the_closed_form(solver):
    """At the end, and at outputs: one at a jump, one between two, one at t0."""
    ts = np.array([0.0, 0.2, 1.1, 1.7, 2.5, 3.0])
    most = 20_000
    sol = kx.solve(relax(stepwise), Y0, 0.0, T1, solver=solver, args=JUMPS, jumps=JUMPS, ts=ts, max_steps=most)
    np.testing.assert_allclose(sol.y1, relaxed(Y0, T1, JUMPS), rtol=1e-8)
    expected = np.stack([relaxed(Y0, t, JUMPS) for t in ts])
    loose = 1e-8 if solver not in (TIGHT[3],) else 1e-7
    np.testing.assert_allclose(sol.ys, expected, rtol=loose, atol=loose)


@pytest.mark.parametrize("solver", mostly_slow([TIGHT[0], TIGHT[2], FIXED[0], DIFFRAX]), ids=title)
@pytest.mark.parametrize("t0", [0.0, 100.0, 1e4, -1e4], ids=str)
def test_the_origin_of_time_does_not_matter(solver, t0):
    """A step reads the field on its own side of a jump, however the times round."""
    sol = kx.solve(relax(stepwise), Y0, t0, t0 + T1, solver=solver, args=JUMPS + t0, jumps=JUMPS + t0)
    np.testing.assert_allclose(sol.y1, relaxed(Y0, T1, JUMPS), rtol=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_narrow_dtypes(dtype):
    """In float32 a step ends at the jump as the field knows it; a field in bfloat16 reads its own side too."""
    jumps, t0 = np.array([0.5, 1.0, 2.0]), 0.0
    y0 = jnp.asarray(Y0, dtype)
    field = lambda t, y, args: 1.25 * (jnp.asarray(LEVELS, t.dtype)[jnp.sum(t >= jnp.asarray(jumps, t.dtype))] - y)
    sol = kx.solve(field, y0, t0, T1, solver=kx.FixedSteps(RK4, 16), jumps=jumps)
    np.testing.assert_allclose(
        np.asarray(sol.y1, np.float64), relaxed(Y0, T1, jumps, rate=1.25), rtol=1e-5 if dtype == "float32" else 2e-2
    )


@pytest.mark.parametrize("solver", mostly_slow([*TIGHT[:3], FIXED[0], DIFFRAX]), ids=title)
def test_backward_in_time(solver):
    """From T1 to 0, where the field before a jump is what the step after it reads."""
    y1 = relaxed(Y0, T1, JUMPS)
    sol = kx.solve(relax(stepwise), y1, T1, 0.0, solver=solver, args=JUMPS, jumps=JUMPS, ts=[1.1, 0.1])
    np.testing.assert_allclose(sol.y1, Y0, rtol=1e-7)
    np.testing.assert_allclose(sol.ys[0], relaxed(Y0, 1.1, JUMPS), rtol=1e-7)


@pytest.mark.parametrize("convention", ["after", "before"])
@pytest.mark.parametrize("solver", [TIGHT[1], FIXED[0]], ids=title)
def test_either_convention_at_the_jump(solver, convention):
    """It does not matter to which side the field counts the time of the jump itself."""
    side = {"after": jnp.greater_equal, "before": jnp.greater}[convention]
    level = lambda t, args: jnp.asarray(LEVELS)[jnp.sum(side(t, jnp.asarray(JUMPS)))]
    sol = kx.solve(relax(level), Y0, 0.0, T1, solver=solver, jumps=JUMPS)
    np.testing.assert_allclose(sol.y1, relaxed(Y0, T1, JUMPS), rtol=1e-8)


@pytest.mark.parametrize(
    "solver", mostly_slow([kx.Adaptive(DOPRI5, 1e-6, 1e-6), kx.FromDiffrax(diffrax.Tsit5(), 1e-6, 1e-6)])
)
def test_evaluations_are_those_of_the_pieces(solver):
    """Each jump costs one evaluation beside the steps; without jumps the same accuracy costs many more."""
    counted = []

    def field(t, y, args):
        jax.debug.callback(lambda: counted.append(1))
        return relax(stepwise)(t, y, args)

    sol = kx.solve(field, Y0, 0.0, T1, solver=solver, args=JUMPS, jumps=JUMPS, adjoint=kx.DiscreteAdjoint())
    jax.effects_barrier()
    assert len(counted) == int(sol.stats.nfe)
    blind = kx.solve(relax(stepwise), Y0, 0.0, T1, solver=solver, args=JUMPS)
    assert int(sol.stats.nfe) < 0.6 * int(blind.stats.nfe)
    truth = relaxed(Y0, T1, JUMPS)
    assert np.max(np.abs(sol.y1 - truth)) < 5e-6


@pytest.mark.parametrize("kind", ["hold", "linear"])
@pytest.mark.parametrize("pair", mostly_slow([DOPRI5, TSIT5, BOSH3]), ids=lambda pair: pair.name)
def test_inputs_with_a_hundred_knots(kind, pair, rng):
    """Within five times the tolerance, with fewer evaluations than without the knots."""
    knots, values = np.linspace(0.0, 10.0, 101), rng.normal(size=101)
    path = diffrax.LinearInterpolation(jnp.asarray(knots), jnp.asarray(values))
    held = lambda t: jnp.asarray(values)[jnp.clip(jnp.searchsorted(jnp.asarray(knots), t, side="right") - 1, 0, 100)]
    level = (lambda t, args: held(t)) if kind == "hold" else (lambda t, args: path.evaluate(t))
    y, rate = 0.3, 1.3
    for n in range(100):  # exact from knot to knot
        h, a, b = knots[n + 1] - knots[n], values[n], (values[n + 1] - values[n]) / (knots[n + 1] - knots[n])
        b = 0.0 if kind == "hold" else b
        y = a - b / rate + b * h + (y - a + b / rate) * np.exp(-rate * h)
    solver = kx.Adaptive(pair, 1e-5, 1e-5)
    with_knots, without = (
        kx.solve(relax(level), np.array([0.3]), 0.0, 10.0, solver=solver, jumps=jumps) for jumps in (knots, None)
    )
    assert abs(with_knots.y1[0] - y) <= 5e-5
    assert int(with_knots.stats.nfe) < int(without.stats.nfe)


def jumped(y0, jumps, rate, t1, xp=jnp):
    return xp.sum(xp.sin(relaxed(y0, t1, jumps, rate=rate, xp=xp)))


@pytest.mark.parametrize("solver", mostly_slow([*TIGHT[:3], *FIXED, DIFFRAX]), ids=title)
@pytest.mark.parametrize("adjoint", [kx.DiscreteAdjoint(), kx.ForwardMode()], ids=lambda a: type(a).__name__)
def test_gradients_in_the_jumps(solver, adjoint):
    """In the times of the jumps, the start, the end and a parameter: each against the closed form."""

    def value(y0, jumps, rate, t1):
        level = lambda t, args: jnp.asarray(LEVELS)[jnp.sum(t >= args)]
        field = lambda t, y, args: args[1] * (level(t, jax.lax.stop_gradient(args[0])) - y)
        sol = kx.solve(
            field, y0, 0.0, t1, solver=solver, args=(jumps, rate), jumps=jumps, adjoint=adjoint, max_steps=400
        )
        return jnp.sum(jnp.sin(sol.y1))

    at = tuple(jnp.asarray(x) for x in (Y0, JUMPS, 1.3, T1))
    mode = jax.jacfwd if isinstance(adjoint, kx.ForwardMode) else jax.grad
    found = jax.jit(mode(value, argnums=(0, 1, 2, 3)))(*at)
    for got, want in zip(found, jax.grad(jumped, argnums=(0, 1, 2, 3))(*at), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("solver", [TIGHT[0], TIGHT[2]], ids=title)
def test_gradients_of_outputs_between_jumps(solver):
    """Outputs inside of steps that a jump bounds: their derivative in the jumps."""
    ts = jnp.asarray([0.25, 0.9, 1.1, 1.9, 2.7])

    def value(jumps, ts):
        field = lambda t, y, args: 1.3 * (jnp.asarray(LEVELS)[jnp.sum(t >= jax.lax.stop_gradient(jumps))] - y)
        return jnp.sum(jnp.sin(kx.solve(field, Y0, 0.0, T1, solver=solver, jumps=jumps, ts=ts).ys))

    def expected(jumps, ts):
        return sum(jnp.sum(jnp.sin(relaxed(Y0, ts[n], jumps, xp=jnp))) for n in (0, 1, 3, 4))

    jumps = jnp.asarray([0.3, 1.1 - 1e-3, 2.0])
    for argument in (0, 1):
        got = jax.grad(value, argnums=argument)(jumps, ts)
        want = jax.grad(lambda j, t: expected(j, t) + jnp.sum(jnp.sin(relaxed(Y0, t[2], j, xp=jnp))), argnums=argument)(
            jumps, ts
        )
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-8)


OWN = np.array([[0.3, 1.1, 2.0], [0.5, 1.0, 2.9], [1.5, np.nan, np.nan]])
OWN_Y0 = np.array([[1.0, 2.0], [0.0, 1.0], [-1.0, 0.5]])


PER_SAMPLE = [kx.Adaptive(pair, 1e-11, 1e-11, control="per_sample") for pair in (DOPRI5, DOPRI8)]


@pytest.mark.parametrize("solver", mostly_slow([*PER_SAMPLE, *FIXED]), ids=title)
@pytest.mark.parametrize("own_ends", mostly_slow([False, True], True), ids=["common ends", "own ends"])
def test_jumps_of_each_sample(solver, own_ends):
    """Rows of jumps, one of which ends early; with gradients, and with t0 and t1 of each sample's own."""
    t0 = np.array([0.0, 0.2, -1.0]) if own_ends else 0.0
    t1 = np.array([3.0, 2.0, 3.5]) if own_ends else 3.0
    filled = np.where(np.isnan(OWN), np.inf, OWN)

    def value(y0, jumps, t0, t1):
        field = lambda t, y, args: 1.3 * (jnp.asarray(LEVELS)[jnp.sum(t >= args)] - y)
        args = jax.lax.stop_gradient(jnp.where(jnp.isnan(jumps), jnp.inf, jumps))
        sol = kx.solve(
            field, y0, t0, t1, solver=solver, args=args, args_axes=0, jumps=jumps, batch_axis=0, max_steps=500
        )
        return jnp.sum(jnp.sin(sol.y1)), sol.y1

    def expected(y0, jumps, t0, t1):
        t0, t1 = jnp.broadcast_to(t0, (3,)), jnp.broadcast_to(t1, (3,))
        rows = []
        for b in range(3):
            y, at = y0[b], t0[b]
            for n in range(4):
                after = jnp.clip(jumps[b, n], t0[b], t1[b]) if n < 3 and np.isfinite(filled[b, n]) else t1[b]
                y = LEVELS[n] + (y - LEVELS[n]) * jnp.exp(-1.3 * (after - at))
                at = after
            rows.append(y)
        return jnp.sum(jnp.sin(jnp.stack(rows))), jnp.stack(rows)

    at = tuple(jnp.asarray(x) for x in (OWN_Y0, OWN, t0, t1))
    found, y1 = jax.jit(jax.grad(value, argnums=(0, 1, 2, 3), has_aux=True))(*at)
    wanted, truth = jax.grad(expected, argnums=(0, 1, 2, 3), has_aux=True)(*at)
    np.testing.assert_allclose(y1, truth, rtol=1e-8)
    np.testing.assert_allclose(value(*(np.asarray(x) for x in at))[1], truth, rtol=1e-8)  # known when traced
    for got, want in zip(found, wanted, strict=True):
        assert np.all(np.isfinite(got))
        np.testing.assert_allclose(got, np.where(np.isfinite(want), want, 0.0), rtol=1e-6, atol=1e-8)


def test_steps_in_each_interval():
    """A solver with a number of steps takes them between t0, ts, jumps and t1, each time once."""
    solver = kx.FixedSteps(HEUN2, 3)
    call = lambda **more: int(kx.solve(relax(stepwise), Y0, 0.0, 3.0, solver=solver, args=JUMPS, **more).stats.nfe)
    assert call(jumps=JUMPS) == 4 * 6
    assert call(jumps=JUMPS, ts=JUMPS) == 4 * 6
    assert call(jumps=JUMPS, ts=[0.0, 0.3, 1.0, 3.0]) == 5 * 6
    assert call(jumps=[-1.0, 0.0, 1.0, 1.0, 3.0, 7.0]) == 2 * 6


@pytest.mark.parametrize("penalty", [kx.LocalError(steps=2), kx.GlobalError(), kx.Consistency(rtol=1e-9, atol=1e-9)])
@pytest.mark.parametrize("solver", [kx.Adaptive(DOPRI5, 1e-6, 1e-6), kx.FixedSteps(DOPRI5, 6)], ids=title)
def test_penalties_see_no_error_at_a_jump(penalty, solver, key):
    """The field is a constant between the jumps: every step that stays on its side is exact."""
    if isinstance(penalty, kx.GlobalError) and isinstance(solver, kx.FixedSteps):
        pytest.skip("made of an adaptive solver's steps")
    field = lambda t, y, args: stepwise(t, args) * jnp.ones_like(y)
    for one in jax.random.split(key, 4):
        sol = kx.solve(field, Y0, 0.0, T1, solver=solver, args=JUMPS, jumps=JUMPS, penalty=penalty, key=one)
        assert float(sol.penalty) < 1e-4
    np.testing.assert_allclose(sol.y1, Y0 + np.dot(LEVELS, np.diff([0.0, *JUMPS, T1])), rtol=1e-12)


def test_max_step_and_jumps():
    """A short pulse between two jumps, and steps that may not be longer than a limit."""
    solver = kx.Adaptive(DOPRI5, 1e-6, 1e-6, max_step=0.1)
    pulse = lambda t, y, args: jnp.where((t >= 1.0) & (t < 1.0 + 1e-6), 1e6, 0.0) * jnp.ones_like(y)
    sol = kx.solve(pulse, np.zeros(1), 0.0, 2.0, solver=solver, jumps=[1.0, 1.0 + 1e-6])
    np.testing.assert_allclose(sol.y1, 1.0, rtol=1e-9)
    assert int(sol.stats.accepted) >= 20


def test_under_vmap_and_scan():
    """Times of jumps that are batched from outside."""
    shifts = jnp.asarray([0.0, 0.1, 0.2])

    def one(shift):
        jumps = jnp.asarray(JUMPS) + shift
        return kx.solve(relax(stepwise), Y0, 0.0, T1, solver=TIGHT[0], args=jumps, jumps=jumps).y1

    expected = np.stack([relaxed(Y0, T1, JUMPS + float(s)) for s in shifts])
    np.testing.assert_allclose(jax.vmap(one)(shifts), expected, rtol=1e-8)
    np.testing.assert_allclose(jax.lax.scan(lambda c, s: (c, one(s)), 0, shifts)[1], expected, rtol=1e-8)


REFUSED = {
    "order": ({"jumps": [1.0, 0.5, 2.0]}, "jumps must be sorted"),
    "shape": ({"jumps": 1.0}, r"jumps must be a one-dimensional array"),
    "rows": ({"jumps": [[1.0]]}, r"jumps has shape \(1, 1\): rows of times, one for each sample, need batch_axis"),
    "nan": ({"jumps": [1.0, np.nan]}, "jumps must be finite"),
    "joint": ({"jumps": [[1.0], [2.0]], "batch_axis": 0, "solver": TIGHT[0]}, "own jumps, and control='joint'"),
    "reversible": ({"solver": kx.Reversible(kx.FixedSteps(RK4, 3))}, "does not take jumps: use"),
    "backsolve": ({"adjoint": kx.BacksolveAdjoint()}, "BacksolveAdjoint does not take jumps: use"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line(case):
    call = {"solver": TIGHT[0], "jumps": JUMPS, **REFUSED[case][0]}
    with pytest.raises(UserError, match=REFUSED[case][1]) as caught:
        kx.solve(relax(lambda t, args: 1.0), Y0, 0.0, 1.0, **call)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("none", [[], np.zeros(0), np.zeros((2, 0))], ids=str)
def test_no_jumps(none):
    y0 = np.ones((2, 1))
    sol = kx.solve(lambda t, y, args: -y, y0, 0.0, 1.0, solver=FIXED[0], jumps=none, batch_axis=0)
    np.testing.assert_allclose(sol.y1, np.exp(-1.0) * y0, rtol=1e-8)


def test_an_sde_has_no_jumps():
    sde = kx.SDE(lambda t, y, args: -y, lambda t, y, args: jnp.ones_like(y))
    with pytest.raises(UserError, match=r"EulerMaruyama.* does not take jumps"):
        kx.solve(sde, Y0, 0.0, 1.0, solver=kx.EulerMaruyama(4), key=jax.random.key(0), jumps=[0.5])

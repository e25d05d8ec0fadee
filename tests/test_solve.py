"""solve: what goes in and comes out, what it costs, what it compiles, and how it fails."""

import contextlib
import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from counting import counted
from problems import circle_and_bell, solution
from slowness import mostly_slow

import kuttax as kx
from kuttax.errors import UserError
from kuttax.solvers.rk.tableaus import ALL, BOSH3, DOPRI5, DOPRI8, EULER, HEUN2, MIDPOINT, RK4, TSIT5

ADAPTIVE = kx.Adaptive(DOPRI5, 1e-8, 1e-8)
FIXED = kx.FixedSteps(RK4, 40)


def square(t, y, args):
    """y' = y^2: y0 / (1 - y0 t), which blows up at t = 1 / y0."""
    del t, args
    return y * y


# Accuracy of fixed steps.

FINEST = {1: 256, 2: 128, 3: 128, 4: 64, 5: 32, 8: 8}


@pytest.mark.parametrize("name", ALL)
def test_measured_order_of_every_tableau(name):
    tableau = ALL[name]
    steps = FINEST[tableau.order] * np.array([2, 3, 4]) // 4
    errors = []
    for n in steps:
        y1 = kx.solve(circle_and_bell, solution(0.0), 0.0, 2.0, solver=kx.FixedSteps(tableau, int(n))).y1
        errors.append(np.abs(y1 - solution(2.0)).max())
    assert min(errors) > 1e-12
    assert -np.polyfit(np.log(steps), np.log(errors), 1)[0] >= tableau.order - 0.2


# Outputs of fixed steps: `steps` counts per interval of t0, *ts, t1.


@pytest.mark.parametrize(("t0", "t1"), [(0.0, 2.0), (1.5, -0.5)], ids=["forward", "backward"])
def test_fixed_steps_through_outputs(t0, t1):
    inner = t0 + np.array([0.2, 0.5, 0.9]) * (t1 - t0)
    for ts, intervals in (
        (inner, 4),
        ([t0, *inner], 4),
        ([*inner, t1], 4),
        ([t0, *inner, t1], 4),
        ([t0, t1], 1),
        ([t1], 1),
    ):
        sol = kx.solve(circle_and_bell, solution(t0), t0, t1, solver=FIXED, ts=ts)
        np.testing.assert_allclose(sol.ys, solution(np.array(ts)), rtol=0, atol=3e-6)
        np.testing.assert_allclose(sol.y1, solution(t1), rtol=0, atol=3e-6)
        assert sol.stats.nfe == 4 * 40 * intervals
        assert sol.stats.accepted == 40 * intervals
    assert np.array_equal(kx.solve(circle_and_bell, solution(t0), t0, t1, solver=FIXED, ts=[t0]).ys[0], solution(t0))


def test_fixed_steps_through_one_output_are_two_solves():
    sol = kx.solve(circle_and_bell, solution(0.0), 0.0, 2.0, solver=FIXED, ts=[0.7])
    first = kx.solve(circle_and_bell, solution(0.0), 0.0, 0.7, solver=FIXED).y1
    second = kx.solve(circle_and_bell, first, 0.7, 2.0, solver=FIXED).y1
    np.testing.assert_allclose(sol.ys[0], first, rtol=0, atol=1e-15)
    np.testing.assert_allclose(sol.y1, second, rtol=0, atol=1e-15)


def test_empty_intervals_are_charged_where_times_are_traced():
    """What cannot be known before the program runs costs its evaluations, and they are counted."""
    ts = jnp.array([0.0, 1.0, 2.0])
    sol = jax.jit(lambda ts: kx.solve(circle_and_bell, solution(0.0), 0.0, 2.0, solver=FIXED, ts=ts))(ts)
    assert sol.stats.nfe == 4 * 40 * 4
    np.testing.assert_allclose(sol.ys, solution(np.asarray(ts)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("solver", [ADAPTIVE, FIXED], ids=["adaptive", "fixed"])
def test_nothing_to_cross(solver):
    """t0 == t1."""
    sol = kx.solve(circle_and_bell, solution(0.3), 0.3, 0.3, solver=solver, ts=[0.3, 0.3])
    np.testing.assert_array_equal(sol.y1, solution(0.3))
    np.testing.assert_array_equal(sol.ys, np.stack([solution(0.3)] * 2))
    assert sol.status == kx.Status.ok


# The number of evaluations, against a counter in the field.


COUNTED = {
    "fixed": kx.FixedSteps(RK4, 7),
    "euler": kx.FixedSteps(EULER, 3),
    "learned": kx.LearnedRK.from_tableau(RK4, 5, order=2, stages=6, per_step=True, learn_steps=True),
    "closed": kx.LearnedRK.from_tableau(MIDPOINT, 4),
    "heun2": kx.Adaptive(HEUN2, 1e-3, 1e-3),
    "bosh3": kx.Adaptive(BOSH3, 1e-4, 1e-4),
    "dopri5": kx.Adaptive(DOPRI5, 1e-6, 1e-6),
    "tsit5": kx.Adaptive(TSIT5, 1e-6, 1e-6),
    "dopri8": kx.Adaptive(DOPRI8, 1e-6, 1e-6),
    "first_step": kx.Adaptive(DOPRI5, 1e-6, 1e-6, first_step=2.0),
}


@pytest.mark.parametrize("name", COUNTED)
def test_nfe_is_what_the_field_counts(name):
    with counted(lambda t, y, args: jnp.sin(y) * jnp.cos(3 * t) - y * y) as (field, calls):
        sol = kx.solve(field, jnp.array([0.3, 1.0]), 0.0, 5.0, solver=COUNTED[name])
        jax.effects_barrier()
    assert sol.stats.nfe == calls["values"] > 0
    if name == "first_step":
        assert sol.stats.rejected > 0


@pytest.mark.parametrize("name", ["fixed", "bosh3"])
@pytest.mark.parametrize("saves", [False, True], ids=["end", "outputs"])
def test_nfe_backward_is_what_the_field_counts(name, saves):
    ts = [1.0, 2.0] if saves else None
    with counted(lambda t, y, args: jnp.sin(y) * jnp.cos(3 * t) - y * y) as (field, calls):

        def loss(y0):
            sol = kx.solve(field, y0, 0.0, 5.0, solver=COUNTED[name], ts=ts)
            return jnp.sum(sol.y1) + (jnp.sum(sol.ys) if saves else 0.0), sol.stats

        _, stats = jax.grad(loss, has_aux=True)(jnp.array([0.3, 1.0]))
        jax.effects_barrier()
    assert stats.nfe_backward == calls["products"] > 0


def test_nfe_of_a_batch_counts_calls_on_the_whole_batch():
    with counted(lambda t, y, args: jnp.sin(y) * jnp.cos(3 * t) - y * y) as (field, calls):
        y0 = jnp.array([[0.3], [1.0], [2.0]])
        sol = kx.solve(field, y0, 0.0, 5.0, solver=COUNTED["dopri5"], batch_axis=0)
        jax.effects_barrier()
    assert sol.stats.nfe == calls["values"]


# What is compiled.

_COMPILED: list[str] = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, duration, **_: _COMPILED.append(event) if event.endswith("backend_compile_duration") else None
)


@contextlib.contextmanager
def no_compilation():
    """XLA must not be asked to compile anything in here."""
    before = len(_COMPILED)
    yield
    assert len(_COMPILED) == before


def test_the_listener_sees_compilation():
    with pytest.raises(AssertionError), no_compilation():
        jax.jit(lambda x: 2 * x + 1)(jnp.arange(3.0)).block_until_ready()


def learned(key, scale=0.1):
    """A learned solver some way from its start."""
    start = kx.LearnedRK.from_tableau(RK4, 4, order=2, per_step=True, learn_steps=True)
    return jax.tree.map(lambda x: x + scale * jax.random.normal(key, x.shape, x.dtype), start)


OTHERS = {
    "adaptive": [
        kx.Adaptive(BOSH3, 1e-5, 1e-6),
        kx.Adaptive(BOSH3, 1e-7, 1e-8, pcoeff=0.0, icoeff=1.0, safety=0.8, factor_max=5.0),
    ],
    "adaptive with a first step": [
        kx.Adaptive(BOSH3, 1e-5, 1e-6, first_step=0.1),
        kx.Adaptive(BOSH3, 1e-7, 1e-8, first_step=0.01),
    ],
    "per sample": [
        kx.Adaptive(BOSH3, 1e-4, 1e-5, control="per_sample"),
        kx.Adaptive(BOSH3, 1e-5, 1e-6, control="per_sample"),
    ],
    "fixed": [kx.FixedSteps(RK4, 5), kx.FixedSteps(RK4, 5)],
    "learned": [learned(jax.random.key(0)), learned(jax.random.key(1))],
}


@pytest.mark.parametrize("kind", mostly_slow(OTHERS, "per sample", "learned"))
def test_changed_numbers_do_not_recompile(kind):
    """Tolerances, controller, coefficients, step sizes, t0, t1, ts, y0 and args: neither values nor gradients."""

    def field(t, y, args):
        return -args * y + jnp.cos(t)

    batch_axis = 0 if kind == "per sample" else None

    def loss(y0, args, solver, t0, t1, ts):
        sol = kx.solve(field, y0, t0, t1, solver=solver, args=args, ts=ts, batch_axis=batch_axis)
        return jnp.sum(sol.y1) + jnp.sum(sol.ys)

    y0 = [jnp.array([[1.0, 2.0]]), jnp.array([[0.5, -1.0]])]
    args = [jnp.asarray(1.0), jnp.asarray(1.7)]
    ts = [np.array([0.5, 1.0]), np.array([0.2, 0.3])]
    grad = jax.grad(loss, argnums=(0, 1))
    first, second = OTHERS[kind]
    values = [jax.block_until_ready(loss(y0[0], args[0], first, 0.0, 2.0, ts[0]))]
    jax.block_until_ready(grad(y0[0], args[0], first, 0.0, 2.0, ts[0]))
    with no_compilation():
        values.append(jax.block_until_ready(loss(y0[1], args[1], second, 0.1, 3.0, ts[1])))
        jax.block_until_ready(grad(y0[1], args[1], second, 0.1, 3.0, ts[1]))
    assert values[0] != values[1]


@pytest.mark.parametrize("kind", ["adaptive", "fixed", "learned"])
def test_a_users_compiled_function_traces_once(kind):
    """With the solver, the times and the field's own numbers as arguments."""

    @eqx.filter_jit
    @eqx.debug.assert_max_traces(max_traces=1)
    def run(solver, rate, y0, t0, t1):
        return kx.solve(lambda t, y, args: -rate * y + jnp.cos(t), y0, t0, t1, solver=solver).y1

    first, second = OTHERS[kind]
    one = run(first, jnp.asarray(1.0), jnp.array([1.0]), jnp.asarray(0.0), jnp.asarray(2.0))
    two = run(second, jnp.asarray(2.0), jnp.array([1.5]), jnp.asarray(0.5), jnp.asarray(3.0))
    assert one[0] != two[0]


# How it fails.


def late_nan(t, y, args):
    """Not a number from t = 1 on."""
    del args
    return -y * jnp.sqrt(1 - t)


def always_nan(t, y, args):
    del t, args
    return jnp.full_like(y, jnp.nan)


FAILURES = {
    "too many steps": (circle_and_bell, solution(0.0), ADAPTIVE, {"max_steps": 5}, "max_steps", "raise max_steps"),
    "blow-up": (square, np.array([1.0]), ADAPTIVE, {}, "step_underflow", "the step size shrank below"),
    "late nan": (late_nan, np.array([1.0]), ADAPTIVE, {}, "non_finite", "became NaN or infinite"),
    "nan field": (always_nan, np.array([1.0]), ADAPTIVE, {}, "non_finite", "became NaN or infinite"),
    "nan start": (square, np.array([np.nan]), ADAPTIVE, {}, "non_finite", "became NaN or infinite"),
    "infinite start": (square, np.array([np.inf]), ADAPTIVE, {}, "non_finite", "became NaN or infinite"),
    "fixed blow-up": (square, np.array([10.0]), FIXED, {}, "non_finite", "became NaN or infinite"),
    "fixed nan": (late_nan, np.array([1.0]), FIXED, {}, "non_finite", "became NaN or infinite"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_failure_is_raised_with_its_cause(case):
    field, y0, solver, options, status, message = FAILURES[case]
    with pytest.raises(kx.SolveError, match=message) as caught:
        kx.solve(field, y0, 0.0, 2.0, solver=solver, **options)
    assert caught.value.status.name == status
    assert "\n" not in str(caught.value)
    sol = kx.solve(field, y0, 0.0, 2.0, solver=solver, throw=False, **options)
    assert kx.Status(int(sol.status)).name == status
    assert np.isnan(sol.y1).all()


@pytest.mark.parametrize("part", ["y1", "ys", "gradient of y1", "gradient of ys", "tangent"])
@pytest.mark.parametrize("solver", [ADAPTIVE, FIXED], ids=["adaptive", "fixed"])
def test_failure_inside_a_compiled_function(solver, part):
    """Whatever part of the result is used: nothing comes back that looks like a number."""

    def number(y0):
        adjoint = kx.ForwardMode() if part == "tangent" else None
        sol = kx.solve(square, y0, 0.0, 2.0, solver=solver, ts=[0.0, 1.0], adjoint=adjoint, max_steps=40)
        return sol.ys[1, 0] if part.endswith("ys") else sol.y1[0]

    def run(y0):
        if part == "tangent":
            return jax.jvp(number, (y0,), (jnp.ones(1),))[1]
        return jax.grad(number)(y0)[0] if part.startswith("gradient") else number(y0)

    truth = {"y1": 0.5, "ys": 1 / 3, "gradient of y1": 4.0, "gradient of ys": 16 / 9, "tangent": 4.0}[part]
    run = eqx.filter_jit(run)
    np.testing.assert_allclose(run(jnp.array([0.25])), truth, rtol=1e-5)
    message = "used up max_steps" if solver is ADAPTIVE else "became NaN or infinite"
    with pytest.raises(eqx.EquinoxRuntimeError, match=message):
        jax.block_until_ready(run(jnp.array([2.0])))


def test_outputs_before_the_failure_are_kept():
    sol = kx.solve(square, np.array([1.0]), 0.0, 2.0, solver=ADAPTIVE, ts=[0.0, 0.5, 1.5], throw=False)
    np.testing.assert_allclose(sol.ys[:2, 0], [1.0, 2.0], rtol=1e-6)
    assert np.isnan(sol.ys[2, 0])


UNORDERED = ([1.0, 0.5], [0.5, 2.5], [-0.1, 0.5])


@pytest.mark.parametrize("ts", UNORDERED, ids=["turning back", "beyond t1", "before t0"])
@pytest.mark.parametrize("solver", [ADAPTIVE, FIXED], ids=["adaptive", "fixed"])
def test_unordered_times(solver, ts):
    with pytest.raises(UserError, match=r"ts must be sorted from t0 towards t1 .* got t0=0.0, t1=2.0, ts="):
        kx.solve(square, np.array([0.1]), 0.0, 2.0, solver=solver, ts=ts)


def test_unordered_times_that_are_traced():
    for solver in (ADAPTIVE, FIXED):

        @eqx.filter_jit
        def run(ts, solver=solver):
            sol = kx.solve(square, np.array([0.1]), 0.0, 2.0, solver=solver, ts=ts, throw=False)
            return sol.status, sol.y1

        status, _ = run(jnp.array([0.5, 1.0]))
        assert status == kx.Status.ok
        for ts in UNORDERED:
            status, y1 = run(jnp.array(ts))
            assert status == kx.Status.unordered_times
            assert np.isnan(y1).all()
    with pytest.raises(eqx.EquinoxRuntimeError, match="ts must be sorted from t0 towards t1"):
        thrown = eqx.filter_jit(lambda ts: kx.solve(square, np.array([0.1]), 0.0, 2.0, solver=FIXED, ts=ts).y1)
        jax.block_until_ready(thrown(jnp.array([1.0, 0.5])))


def test_tolerance_that_the_dtype_cannot_carry():
    y0 = np.array([0.1], np.float32)
    with pytest.raises(
        UserError, match=r"rtol=1e-08 is below what float32 can carry: use at least 9\.5e-07, or float64"
    ):
        kx.solve(square, y0, 0.0, 2.0, solver=kx.Adaptive(DOPRI5, 1e-8, 1e-8))

    @eqx.filter_jit
    def run(rtol):
        return kx.solve(square, y0, 0.0, 2.0, solver=kx.Adaptive(DOPRI5, rtol, 1e-5)).y1

    np.testing.assert_allclose(run(jnp.asarray(1e-5)), [0.125], rtol=1e-4)
    with pytest.raises(eqx.EquinoxRuntimeError, match="rtol is below"):
        jax.block_until_ready(run(jnp.asarray(1e-8)))


PER_SAMPLE = kx.Adaptive(DOPRI5, 1e-8, 1e-8, control="per_sample")


def test_one_failing_sample_leaves_the_others_right():
    y0 = np.array([[0.1], [1.0], [0.25], [np.nan]])
    with pytest.raises(kx.SolveError, match=r"2 of 4 samples failed \(indices \[1 3\]\); "):
        kx.solve(square, y0, 0.0, 2.0, solver=PER_SAMPLE, batch_axis=0)
    sol = kx.solve(square, y0, 0.0, 2.0, solver=PER_SAMPLE, batch_axis=0, throw=False)
    assert [kx.Status(int(s)).name for s in sol.status] == ["ok", "step_underflow", "ok", "non_finite"]
    np.testing.assert_allclose(sol.y1[::2, 0], [0.125, 0.5], rtol=1e-7)
    assert np.isnan(sol.y1[1::2]).all()


@pytest.mark.parametrize(
    ("failing", "tableau"),
    [
        ("step_underflow", BOSH3),
        ("non_finite", BOSH3),
        ("non_finite", DOPRI8),
        ("max_steps", BOSH3),
        ("nan start", BOSH3),
    ],
)
def test_gradients_of_the_other_samples_stay_finite(failing, tableau):
    """y' = a y^2, so that y1 = y0 / (1 - a y0 t1), but for what makes the second sample fail beyond y = 3."""
    rate, bad = jnp.asarray(0.9), {"nan start": np.nan}.get(failing, 1.0)
    y0 = jnp.array([[0.1], [bad], [0.25]])
    solver = kx.Adaptive(tableau, 1e-6, 1e-6, control="per_sample")
    most = 200 if failing == "max_steps" else 5000

    def field(t, y, rate):
        del t
        return jnp.where(y > 3.0, jnp.nan, rate * y * y) if failing == "non_finite" else rate * y * y

    def loss(y0, rate):
        sol = kx.solve(
            field, y0, 0.0, 2.0, solver=solver, args=rate, batch_axis=0, throw=False, ts=[0.1, 2.0], max_steps=most
        )
        return jnp.sum(jnp.where((sol.status == 0)[:, None], sol.y1 + sol.ys[0], 0.0)), sol.status

    (dy0, drate), status = jax.grad(loss, argnums=(0, 1), has_aux=True)(y0, rate)
    assert [bool(s) for s in status == 0] == [True, False, True]
    assert kx.Status(int(status[1])).name == {"nan start": "non_finite"}.get(failing, failing)
    x, a = np.array([0.1, 0.25]), 0.9
    np.testing.assert_allclose(dy0[::2, 0], sum(1 / (1 - a * x * t) ** 2 for t in (0.1, 2.0)), rtol=1e-4)
    np.testing.assert_allclose(drate, sum((t * x**2 / (1 - a * x * t) ** 2).sum() for t in (0.1, 2.0)), rtol=1e-4)


# States, closures and batches.


def test_states_are_any_pytree():
    def field(t, y, args):
        (u, v), bell = y["circle"], y["bell"]
        return {"circle": (-args["rate"] * v, args["rate"] * u), "bell": -2 * t * bell**2}

    y0 = {"circle": (jnp.ones((2, 3)), jnp.zeros((2, 3))), "bell": jnp.asarray(1.0)}
    for solver in (ADAPTIVE, FIXED):
        sol = kx.solve(field, y0, 0.0, 2.0, solver=solver, args={"rate": jnp.asarray(1.5)}, ts=[1.0, 2.0])
        np.testing.assert_allclose(sol.y1["circle"][0], np.full((2, 3), np.cos(3.0)), rtol=0, atol=1e-5)
        np.testing.assert_allclose(sol.ys["circle"][1][0], np.full((2, 3), np.sin(1.5)), rtol=0, atol=1e-5)
        np.testing.assert_allclose(sol.ys["bell"], [0.5, 0.2], rtol=0, atol=1e-6)


def test_fields_may_be_modules_closures_and_bound_methods():
    class Decay(eqx.Module):
        rate: jax.Array

        def __call__(self, t, y, args):
            return -self.rate * y

        def method(self, t, y, args):
            return self(t, y, args)

    decay = Decay(jnp.asarray(0.5))
    for solver in (ADAPTIVE, FIXED):
        for field in (decay, decay.method, lambda t, y, args: decay(t, y, args)):
            y1 = kx.solve(field, jnp.array([2.0]), 0.0, 2.0, solver=solver).y1
            np.testing.assert_allclose(y1, [2 * math.exp(-1)], rtol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_batches_of_fixed_steps(axis):
    """The field is written for one sample."""
    starts = np.stack([solution(0.0), solution(0.0) + 0.1, solution(0.0) - 0.2])
    y0 = np.moveaxis(starts[:, :, None] * np.ones(2), 0, axis)

    def field(t, y, args):
        assert y.shape == (3, 2)
        return jax.vmap(circle_and_bell, in_axes=(None, 1, None), out_axes=1)(t, y, args)

    sol = kx.solve(field, y0, 0.0, 1.0, solver=kx.FixedSteps(RK4, 5), batch_axis=axis, ts=[0.5])
    for i, start in enumerate(starts):
        single = kx.solve(circle_and_bell, start, 0.0, 1.0, solver=kx.FixedSteps(RK4, 5), ts=[0.5])
        np.testing.assert_allclose(np.take(np.asarray(sol.y1), i, axis)[:, 0], single.y1, rtol=1e-13)
        saved = np.take(np.asarray(sol.ys), i, axis + 1 if axis >= 0 else axis)
        np.testing.assert_allclose(saved[0, :, 1], single.ys[0], rtol=1e-13)


def test_numbers_of_any_kind_are_taken():
    """Python floats, NumPy and JAX arrays; the state's dtype rules."""
    single = kx.solve(square, 0.25, 0, 2, solver=FIXED, ts=(1, 2))
    assert single.y1.dtype == jnp.float64
    np.testing.assert_allclose(single.ys, [1 / 3, 0.5], rtol=1e-6)
    half = kx.solve(square, np.float32(0.25), np.float64(0), jnp.asarray(2), solver=FIXED, ts=[1.0, 2.0])
    assert half.y1.dtype == half.ys.dtype == jnp.float32
    np.testing.assert_allclose(half.ys, [1 / 3, 0.5], rtol=1e-5)


# What is refused: one line, with the value.


class Odd(eqx.Module):
    """A field whose value is not shaped like its state."""

    wrong: str = eqx.field(static=True)

    def __call__(self, t, y, args):
        if self.wrong == "shape":
            return y[:1]
        return y.astype(jnp.float32) if self.wrong == "dtype" else (y, y)


REFUSED = {
    "no axis": ({"batch_axis": "0"}, "batch_axis must be a whole number or None, got '0'"),
    "a flag as an axis": ({"batch_axis": True}, "batch_axis must be a whole number or None, got True"),
    "integers": ({"y0": np.array([1, 2])}, "y0 must hold real floating-point arrays, got int64: convert it"),
    "python int": ({"y0": 1}, "y0 must hold real floating-point arrays, got int: convert it"),
    "complex": ({"y0": np.array([1j])}, "y0 must hold real floating-point arrays, got complex128"),
    "text": ({"y0": "one"}, "y0 must hold real floating-point arrays, got str"),
    "nothing": ({"y0": ()}, "y0 holds no arrays"),
    "two dtypes": (
        {"y0": (np.ones(2), np.ones(2, np.float32))},
        "the leaves of y0 must share one dtype, got float32 and float64",
    ),
    "no such axis": ({"batch_axis": 2}, r"batch_axis=2 is no axis of every leaf of y0, whose shapes are \[\(2,\)\]"),
    "no such negative axis": ({"batch_axis": -2}, "batch_axis=-2 is no axis of every leaf"),
    "samples that differ": (
        {"y0": (np.ones((2, 3)), np.ones((4, 3))), "batch_axis": 0},
        r"batch_axis=0 must count the same samples, at least one, in every leaf, got \[2, 4\]",
    ),
    "no samples": ({"y0": np.ones((0, 3)), "batch_axis": 0}, r"batch_axis=0 must count .* got \[0\]"),
    "slope's shape": ({"field": Odd("shape")}, r"the field must return a slope like the state, .*\[2\].*\[1\]"),
    "slope's dtype": ({"field": Odd("dtype")}, "the field must return a slope like the state, .*float64.*float32"),
    "slope's tree": ({"field": Odd("tree")}, "the field must return a slope like the state"),
    "ts of two axes": (
        {"ts": np.ones((2, 2))},
        r"ts has shape \(2, 2\): rows of times, one for each sample, need batch_axis",
    ),
    "empty ts": ({"ts": []}, r"ts must be a one-dimensional array of at least one time, got shape \(0,\)"),
    "t0 a sample": ({"t0": np.zeros(2)}, r"t0 must be one number, got shape \(2,\)"),
    "nan t1": ({"t1": np.nan}, "t1 must be finite, got nan"),
    "no steps allowed": ({"max_steps": 0}, "max_steps must be a whole number from 1 to 2147483647, got 0"),
    "half a step allowed": ({"max_steps": 2.5}, "max_steps must be a whole number from 1 to 2147483647, got 2.5"),
    "a field of two": (
        {"field": lambda t, y: y},
        r"the field must be a function f\(t, y, args\), and <lambda> cannot be called so \(too many positional",
    ),
    "a network": (
        {"field": eqx.nn.MLP(2, 2, 4, 1, key=jax.random.key(0))},
        r"the field must be a function f\(t, y, args\), and MLP cannot be called so",
    ),
    "no function": ({"field": 3.0}, r"the field must be a function f\(t, y, args\), got float"),
    "half an SDE": (
        {"field": kx.SDE(lambda t, y: y, square), "solver": kx.EulerMaruyama(2), "key": jax.random.key(0)},
        r"the drift must be a function f\(t, y, args\)",
    ),
    "ragged rows": ({"y0": [[1.0], [2.0, 3.0]]}, "y0 is a list of rows that differ in length"),
    "per sample without samples": ({"solver": PER_SAMPLE}, "control='per_sample' needs batch_axis"),
}


def test_a_list_is_an_array():
    for y0 in ([0.1, 0.2], [1, 2], [[0.1, 0.2], [0.3, 0.4]]):
        sol = kx.solve(lambda t, y, args: -y, y0, 0.0, 1.0, solver=FIXED)
        np.testing.assert_allclose(sol.y1, np.asarray(y0) * math.exp(-1), rtol=1e-6)


def test_an_exported_solve():
    """An error inside needs a callback, which cannot be exported; without it the status is raised outside."""

    def end(y0, throw):
        sol = kx.solve(square, y0, 0.0, 1.0, solver=ADAPTIVE, throw=throw)
        return sol.y1, sol.status

    exported = jax.export.export(jax.jit(functools.partial(end, throw=False)))(jnp.ones(1))
    y1, status = exported.call(jnp.full(1, 0.5))
    kx.raise_for_status(status)
    np.testing.assert_allclose(y1, 1.0, rtol=1e-6)
    with pytest.raises(kx.SolveError, match="the step size shrank below"):
        kx.raise_for_status(exported.call(jnp.full(1, 3.0))[1])
    with pytest.raises(NotImplementedError, match="host_callbacks"):
        jax.export.export(jax.jit(functools.partial(end, throw=True)))(jnp.ones(1)).serialize()


def test_a_status_that_is_raised_outside():
    sol = kx.solve(square, jnp.array([[0.1], [3.0]]), 0.0, 1.0, solver=PER_SAMPLE, batch_axis=0, throw=False)
    with pytest.raises(kx.SolveError, match=r"1 of 2 samples failed \(indices \[1\]\); the step size"):
        kx.raise_for_status(sol)
    with pytest.raises(UserError, match="raise_for_status needs a status that is known"):
        jax.jit(lambda y0: kx.raise_for_status(kx.solve(square, y0, 0.0, 1.0, solver=FIXED, throw=False)))(jnp.ones(1))


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    changed, message = REFUSED[case]
    call = {"field": square, "y0": np.ones(2) / 4, "t0": 0.0, "t1": 1.0, "solver": ADAPTIVE, **changed}
    field, y0, t0, t1 = (call.pop(name) for name in ("field", "y0", "t0", "t1"))
    with pytest.raises(UserError, match=message) as caught:
        kx.solve(field, y0, t0, t1, **call)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("steps", [0, -1, 2.5, True, "4"])
def test_steps_that_are_refused(steps):
    for make in (lambda: kx.FixedSteps(RK4, steps), lambda: kx.LearnedRK.from_tableau(RK4, steps)):
        with pytest.raises(UserError, match=f"steps must be a whole number >= 1, got {steps!r}"):
            make()


# Which leaves are trained.

TRAINED = {
    "fixed": (kx.FixedSteps(RK4, 4), 0),
    "adaptive": (ADAPTIVE, 0),
    "adaptive in jax numbers": (kx.Adaptive(DOPRI5, jnp.asarray(1e-5), jnp.asarray(1e-5)), 0),
    "learned": (kx.LearnedRK.from_tableau(RK4, 4, order=2, learn_steps=True), 3),
    "closed": (kx.LearnedRK.from_tableau(RK4, 4), 1),
}


@pytest.mark.parametrize("kind", TRAINED)
def test_trainable_and_labels(kind):
    """Of (model, solver): the model's floating-point arrays, and of the solver only learned parameters."""
    solver, parameters = TRAINED[kind]
    model = {"weight": jnp.ones((2, 2)), "count": jnp.asarray(3), "activation": jnp.tanh}
    tree = (model, solver)
    mask = kx.trainable(tree)
    assert mask[0] == {"weight": True, "count": False, "activation": False}
    trained, rest = eqx.partition(tree, mask)
    assert len(jax.tree.leaves(trained[1])) == parameters
    assert eqx.tree_equal(eqx.combine(trained, rest), tree)
    groups = kx.labels(trained)
    assert jax.tree.structure(groups) == jax.tree.structure(trained)
    assert jax.tree.leaves(groups) == ["field"] + ["solver"] * parameters


@pytest.mark.parametrize("adjoint", [kx.DiscreteAdjoint(), kx.BacksolveAdjoint()])
def test_args_by_name_may_count_samples(adjoint):
    """dy/dt = rate y + push: the rate is of each sample, the push is shared."""
    solver, field = kx.FixedSteps(DOPRI8, 8), lambda t, y, args: args["rate"] * y + args["push"]
    args = {"rate": jnp.asarray([-1.0, 0.5, 2.0]), "push": jnp.asarray(0.3)}

    def total(args, axes):
        options = {"batch_axis": 0, "args_axes": axes, "adjoint": adjoint}
        return jnp.sum(kx.solve(field, np.ones((3, 1)), 0.0, 1.0, solver=solver, args=args, **options).y1)

    def exact(args):
        moved = args["push"] / args["rate"]
        return jnp.sum(jnp.exp(args["rate"]) * (1 + moved) - moved)

    found = jax.value_and_grad(total)(args, {"rate": 0, "push": None})
    for got, expected in zip(jax.tree.leaves(found), jax.tree.leaves(jax.value_and_grad(exact)(args)), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    with pytest.raises(UserError, match="a dict with an entry for each"):
        total(args, {"rate": 0})

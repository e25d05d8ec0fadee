"""Adaptive: accuracy against diffrax and DOP853, dense output, and control by the sample."""

import dataclasses
import functools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import PROBLEMS, WIDTH, any_problem, circle_and_bell, solution
from slowness import mostly_slow

import kuttax as kx
from kuttax.errors import UserError
from kuttax.solvers.rk.adaptive.march import march
from kuttax.solvers.rk.order import order_conditions
from kuttax.solvers.rk.tableaus import ALL, DOPRI5, DOPRI8

PAIRS = {"bosh3": diffrax.Bosh3, "dopri5": diffrax.Dopri5, "tsit5": diffrax.Tsit5, "dopri8": diffrax.Dopri8}
EACH_PAIR = pytest.mark.parametrize("name", mostly_slow(PAIRS, "dopri5"))
EACH_PROBLEM = pytest.mark.parametrize("index", range(len(PROBLEMS)), ids=[p.name for p in PROBLEMS])
TOLERANCES = (1e-4, 1e-6, 1e-8, 1e-10)
ENDS = (0.25, 0.5, 0.75, 1.0)
PCOEFF, ICOEFF = 0.2, 0.65


class HairerControl(diffrax.AbstractStepSizeController):
    """Hairer's PI rule for diffrax: its own PIDController never shrinks a step after an accepted one."""

    rtol: jax.Array
    atol: jax.Array

    def wrap(self, direction):
        del direction
        return self

    def init(self, terms, t0, t1, y0, dt0, args, func, error_order):
        del terms, t1, args, func, error_order
        return t0 + dt0, jnp.ones((), y0.dtype)

    def adapt_step_size(self, t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state):
        del args
        scale = self.atol + self.rtol * jnp.maximum(jnp.abs(y0), jnp.abs(y1_candidate))
        error = jnp.sqrt(jnp.mean((y_error / scale) ** 2))
        keep = error <= 1
        error = jnp.maximum(error, 1e-300)
        factor = 0.9 * error ** (-(PCOEFF + ICOEFF) / error_order) * controller_state ** (PCOEFF / error_order)
        factor = jnp.clip(jnp.where(jnp.isfinite(error), factor, 0.2), 0.2, jnp.where(keep, 10.0, 1.0))
        start = jnp.where(keep, t1, t0)
        state = jnp.where(keep, error, controller_state)
        return keep, start, start + factor * (t1 - t0), False, state, diffrax.RESULTS.successful


@functools.cache
def our_end(name):
    """Compiled once for all problems, tolerances and times."""

    @jax.jit
    def run(index, y0, t0, t1, tol, first):
        solver = kx.Adaptive(ALL[name], tol, tol, pcoeff=PCOEFF, icoeff=ICOEFF, first_step=first)
        return kx.solve(any_problem, y0, t0, t1, solver=solver, args=index, max_steps=30_000).y1

    return run


@functools.cache
def diffrax_end(name, control):
    """The same by diffrax, under "hairer" or its own "pid" control."""

    @jax.jit
    def run(index, y0, t0, t1, tol, first):
        controller = (
            HairerControl(tol, tol)
            if control == "hairer"
            else diffrax.PIDController(tol, tol, pcoeff=PCOEFF, icoeff=ICOEFF)
        )
        terms, dt0 = diffrax.ODETerm(any_problem), first * jnp.sign(t1 - t0)
        sol = diffrax.diffeqsolve(
            terms, PAIRS[name](), t0, t1, dt0, y0, index, stepsize_controller=controller, max_steps=30_000
        )
        return sol.ys[0]

    return run


@functools.cache
def reference(index, part):
    """A problem's solution at a part of its interval."""
    problem = PROBLEMS[index]
    value = problem.reference(problem.t0 + part * (problem.t1 - problem.t0))
    return np.pad(value, (0, WIDTH - len(value)))


@functools.cache
def largest_error(end, index, tol):
    """The largest error at four times: at a single one it may happen to pass through zero."""
    problem = PROBLEMS[index]
    span = problem.t1 - problem.t0
    errors = []
    for part in ENDS:
        times = (problem.t0, problem.t0 + part * span, tol, 2e-3 * abs(span))
        y1 = end(jnp.asarray(index), jnp.asarray(problem.start), *(jnp.asarray(x, jnp.float64) for x in times))
        errors.append(np.abs(np.asarray(y1) - reference(index, part)).max())
    return max(errors)


@EACH_PROBLEM
def test_reference_against_closed_form(index):
    problem = PROBLEMS[index]
    if problem.flow is not None:
        for part in ENDS:
            t = problem.t0 + part * (problem.t1 - problem.t0)
            np.testing.assert_allclose(problem.reference(t), problem.flow(t), rtol=0, atol=3e-12)


@EACH_PROBLEM
@EACH_PAIR
def test_error_is_at_most_twice_that_of_diffrax(name, index):
    """Same method, tolerance and controller. 5e-12 is the reference's own error."""
    for tol in TOLERANCES:
        ours = largest_error(our_end(name), index, tol)
        theirs = largest_error(diffrax_end(name, "hairer"), index, tol)
        assert ours <= 2 * theirs + 5e-12, tol


@EACH_PROBLEM
@EACH_PAIR
def test_error_under_the_own_control_of_diffrax(name, index):
    """PIDController places its steps otherwise; the error on average over the tolerances is compared."""
    ours = [largest_error(our_end(name), index, tol) for tol in TOLERANCES]
    theirs = [largest_error(diffrax_end(name, "pid"), index, tol) for tol in TOLERANCES]
    assert np.exp(np.mean(np.log(ours) - np.log(theirs))) <= 2


@EACH_PROBLEM
@EACH_PAIR
def test_error_vanishes_with_the_tolerance(name, index):
    """The factor is Lorenz's, whose solutions part fastest."""
    for tol in TOLERANCES:
        assert largest_error(our_end(name), index, tol) <= 500 * tol


def slope(sizes, errors, floor=1e-13):
    """The slope of log error over log size; below the floor is rounding."""
    use = np.array(errors) > floor
    assert use.sum() >= 3
    return np.polyfit(np.log(sizes[use]), np.log(np.array(errors)[use]), 1)[0]


@pytest.mark.parametrize("name", ["heun2", "rk4", *PAIRS])
def test_dense_output_order(name):
    """One step of size h, whose dense output of order q is wrong by O(h^(q+1)) inside."""
    tableau = ALL[name]
    inside = np.array([0.15, 0.4, 0.65, 0.9])
    largest = {"dopri8": 1.0}.get(name, 0.4)
    sizes = largest * 0.75 ** np.arange(6)
    errors = []
    for h in sizes:
        solver = kx.Adaptive(tableau, 1e6, 1e6, first_step=h)
        t0 = 0.5
        sol = kx.solve(circle_and_bell, solution(t0), t0, t0 + h, solver=solver, ts=t0 + inside * h)
        assert sol.stats.accepted == 1
        errors.append(np.abs(sol.ys - solution(t0 + inside * h)).max())
    assert slope(sizes, errors) >= tableau.dense_order + 1 - 0.2


def nodes_of(solver, field, y0, t0, t1):
    """The ends of the accepted steps."""
    y0, t0, t1 = jnp.asarray(y0), jnp.asarray(t0), jnp.asarray(t1)
    problem = kx.Problem(field, y0, t0, t1, max_steps=200)
    final = eqx.filter_jit(lambda problem: march(solver, problem, taped=True, bounded=False))(problem)
    return np.append(np.asarray(final.tape.t)[: final.accepted], t1)


def replay(tableau, field, y, nodes):
    """The states at the nodes, by a plain loop in NumPy."""
    field, states = jax.jit(field), [np.asarray(y)]
    for t, h in zip(nodes, np.diff(nodes), strict=False):
        k = []
        for i in range(tableau.stages):
            inner = sum((tableau.a[i, j] * k[j] for j in range(i)), np.zeros_like(states[0]))
            k.append(np.asarray(field(t + tableau.c[i] * h, states[-1] + h * inner, None)))
        states.append(states[-1] + h * sum(b * k for b, k in zip(tableau.b, k, strict=True)))
    return np.array(states)


@pytest.mark.parametrize(("t0", "t1"), [(0.0, 3.0), (2.0, -1.0)], ids=["forward", "backward"])
@pytest.mark.parametrize("tableau", mostly_slow([DOPRI5, DOPRI8]), ids=["dopri5", "dopri8"])
def test_outputs_at_accepted_nodes_are_the_steps_own_states(tableau, t0, t1):
    """To rounding; and ts, however many, changes neither the steps nor their cost."""
    solver = kx.Adaptive(tableau, 1e-7, 1e-7)
    nodes = nodes_of(solver, circle_and_bell, solution(t0), t0, t1)
    assert len(nodes) > 5
    bare = kx.solve(circle_and_bell, solution(t0), t0, t1, solver=solver)
    saved = kx.solve(circle_and_bell, solution(t0), t0, t1, solver=solver, ts=nodes)
    np.testing.assert_allclose(saved.ys, replay(tableau, circle_and_bell, solution(t0), nodes), rtol=0, atol=2e-14)
    np.testing.assert_allclose(saved.ys[0], solution(t0), rtol=0, atol=0)
    np.testing.assert_allclose(saved.y1, bare.y1, rtol=0, atol=1e-15)
    assert saved.stats.nfe == bare.stats.nfe
    assert saved.stats.accepted == bare.stats.accepted == len(nodes) - 1
    between = np.linspace(t0, t1, 101)
    many = kx.solve(circle_and_bell, solution(t0), t0, t1, solver=solver, ts=between)
    assert many.stats.nfe == bare.stats.nfe
    np.testing.assert_allclose(many.ys, solution(between), rtol=0, atol=2e-5)
    np.testing.assert_allclose(many.ys[-1], many.y1, rtol=0, atol=1e-14)


def decay(t, y, args):
    """Towards a curve, at a rate of the sample's own: the second entry, which does not change."""
    del args
    value, rate = y["value"], y["rate"]
    return {"value": rate[0] * (jnp.cos(t) - value), "rate": jnp.zeros_like(rate)}


RATES = np.array([[0.1], [3.0], [40.0], [300.0]])
VALUES = np.array([[1.0, 2.0], [0.5, 0.0], [-1.0, 1.0], [3.0, -2.0]])


@functools.cache
def one_by_one(control):
    """Each sample on its own, under joint control."""
    solver = kx.Adaptive(DOPRI5, 1e-6, 1e-6, first_step=None if control == "free" else 1e-3)
    starts = [{"value": jnp.asarray(v), "rate": jnp.asarray(r)} for v, r in zip(VALUES, RATES, strict=True)]
    return [kx.solve(decay, y0, 0.0, 2.0, solver=solver, ts=[0.0, 0.3, 1.1, 2.0]) for y0 in starts]


@pytest.mark.parametrize("control", ["free", "given first step"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_per_sample_control_is_a_loop_over_samples(axis, control):
    singles = one_by_one(control)
    y0 = {"value": jnp.moveaxis(jnp.asarray(VALUES), 0, axis), "rate": jnp.moveaxis(jnp.asarray(RATES), 0, axis)}
    solver = kx.Adaptive(DOPRI5, 1e-6, 1e-6, control="per_sample", first_step=None if control == "free" else 1e-3)
    sol = kx.solve(decay, y0, 0.0, 2.0, solver=solver, batch_axis=axis, ts=[0.0, 0.3, 1.1, 2.0])
    saved_axis = axis + 1 if axis >= 0 else axis
    for i, single in enumerate(singles):
        for key in ("value", "rate"):
            np.testing.assert_allclose(np.take(np.asarray(sol.y1[key]), i, axis), single.y1[key], rtol=1e-12)
            np.testing.assert_allclose(np.take(np.asarray(sol.ys[key]), i, saved_axis), single.ys[key], rtol=1e-12)
        for count in ("nfe", "accepted", "rejected", "nfe_backward"):
            assert getattr(sol.stats, count)[i] == getattr(single.stats, count)
        assert sol.status[i] == single.status
    assert sol.stats.nfe[-1] > 3 * sol.stats.nfe[0]  # the samples do differ


def test_joint_control_of_a_batch_is_the_solve_of_the_whole_state():
    y0 = {"value": jnp.asarray(VALUES), "rate": jnp.asarray(RATES)}
    solver = kx.Adaptive(DOPRI5, 1e-6, 1e-6)
    ts = [0.3, 2.0]
    batched = kx.solve(decay, y0, 0.0, 2.0, solver=solver, batch_axis=0, ts=ts)

    def whole_field(t, y, args):
        del args
        return {"value": y["rate"] * (jnp.cos(t) - y["value"]), "rate": jnp.zeros_like(y["rate"])}

    whole = kx.solve(whole_field, y0, 0.0, 2.0, solver=solver, ts=ts)
    np.testing.assert_allclose(batched.y1["value"], whole.y1["value"], rtol=1e-12)
    np.testing.assert_allclose(batched.ys["value"], whole.ys["value"], rtol=1e-12)
    assert batched.stats.nfe == whole.stats.nfe
    assert batched.stats.nfe.shape == ()


def test_vmap_over_solve_is_a_loop():
    solver = kx.Adaptive(DOPRI5, 1e-6, 1e-6)
    y0 = {"value": jnp.asarray(VALUES), "rate": jnp.asarray(RATES)}
    ts = [0.0, 0.3, 1.1, 2.0]
    sol = jax.vmap(lambda y0: kx.solve(decay, y0, 0.0, 2.0, solver=solver, ts=ts))(y0)
    for i, single in enumerate(one_by_one("free")):
        np.testing.assert_allclose(sol.y1["value"][i], single.y1["value"], rtol=1e-12)
        np.testing.assert_allclose(sol.ys["value"][i], single.ys["value"], rtol=1e-12)
        assert sol.stats.nfe[i] == single.stats.nfe


def test_tolerance_may_differ_under_vmap():
    """A solver is a pytree: tolerances can be mapped over like any numbers."""
    solver = kx.Adaptive(DOPRI5, 1e-3, 1e-3)
    tolerances = jnp.array([1e-3, 1e-6, 1e-9])

    def error(tol):
        mine = dataclasses.replace(solver, rtol=tol, atol=tol)
        y1 = kx.solve(circle_and_bell, solution(0.0), 0.0, 2.0, solver=mine).y1
        return jnp.abs(y1 - solution(2.0)).max()

    errors = np.asarray(jax.vmap(error)(tolerances))
    for error_at, tol in zip(errors, np.asarray(tolerances), strict=True):
        assert error_at <= 50 * tol
    assert errors[0] > 100 * errors[1] > 1e4 * errors[2]


def test_first_step_longer_than_the_interval_is_cut():
    solver = kx.Adaptive(DOPRI5, 1e-3, 1e-3, first_step=10.0)
    sol = kx.solve(circle_and_bell, solution(0.0), 0.0, 0.1, solver=solver)
    assert sol.stats.accepted == 1
    np.testing.assert_allclose(sol.y1, solution(0.1), rtol=0, atol=1e-8)


def test_float32_stays_float32():
    solver = kx.Adaptive(DOPRI5, 1e-5, 1e-5)
    y0 = solution(0.0).astype(np.float32)
    sol = kx.solve(circle_and_bell, y0, 0.0, 2.0, solver=solver, ts=[1.0, 2.0])
    assert sol.y1.dtype == sol.ys.dtype == jnp.float32
    np.testing.assert_allclose(sol.ys, solution(np.array([1.0, 2.0])), rtol=0, atol=1e-4)


def test_error_estimate_of_a_pair_shrinks_as_its_exponent_says():
    """k - 1 is the order of the embedded solution by its order conditions, where that is the lower one."""
    for name in PAIRS:
        tableau = ALL[name]
        s = tableau.stages
        a = np.zeros((s + 1, s + 1))
        a[:s, :s], a[s, :s] = tableau.a, tableau.b
        embedded = (a, np.append(tableau.b, 0.0) - tableau.error, np.append(tableau.c, 1.0))
        k = kx.Adaptive(tableau).error_exponent
        assert np.abs(order_conditions(embedded, k - 1)).max() <= 1e-12
        assert np.abs(order_conditions(embedded, k)).max() > 1e-6


@pytest.mark.parametrize(
    ("tableau", "options", "message"),
    [
        ("euler", {}, "Euler has no embedded pair to control steps with: use FixedSteps"),
        ("dopri5", {"control": "each"}, "control must be 'joint' or 'per_sample', got 'each'"),
        ("dopri5", {"rtol": 0.0}, "rtol must be a number > 0, got 0.0"),
        ("dopri5", {"rtol": np.nan}, "rtol must be a number > 0, got nan"),
        ("dopri5", {"atol": -1e-6}, "atol must be a number >= 0, got -1e-06"),
        ("dopri5", {"first_step": 0.0}, "first_step must be a number > 0, got 0.0"),
        ("dopri5", {"factor_max": 0.5}, "factor_max must be a number >= 1, got 0.5"),
        ("dopri5", {"rtol": np.array([1e-3, 1e-4])}, "rtol must be a number > 0, got array"),
    ],
)
def test_refused(tableau, options, message):
    with pytest.raises(UserError, match=message) as caught:
        kx.Adaptive(ALL[tableau], **options)
    assert "\n" not in str(caught.value)


def test_printed():
    solver = kx.Adaptive(DOPRI5, 1e-5, 1e-6, control="per_sample")
    assert str(solver) == "Adaptive(Dopri5, rtol=1e-05, atol=1e-06, per sample)"

"""Reversible: against a naive loop over its equations, in NumPy for values and in JAX for derivatives."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from counting import counted
from jax.flatten_util import ravel_pytree
from problems import circle_and_bell, solution

import kuttax as kx
from kuttax.errors import UserError
from kuttax.solvers.base.problem import Problem
from kuttax.solvers.rk.reversible import Reversible
from kuttax.solvers.rk.tableaus import DOPRI5, EULER, MIDPOINT, RK4
from kuttax.solvers.serialise import from_json, to_json

T0, T1 = 0.2, 2.0
TS = np.array([0.5, 1.1, 1.8])
INPUTS = {
    "y0": np.array([1.0, 1.5]),
    "args": {"prey": np.array(1.1), "predator": np.array(0.8)},
    "closed": np.array([0.3, -0.2]),
    "t0": np.array(T0),
    "t1": np.array(T1),
    "ts": TS,
}
BACKWARD = {**INPUTS, "t0": np.array(T1), "t1": np.array(T0), "ts": TS[::-1].copy()}


def moved(solver, seed=0):
    """A learned solver some way from its start."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: x + rng.normal(size=x.shape).astype(x.dtype) / 9, solver)


LEARNED = moved(kx.LearnedRK.from_tableau(MIDPOINT, 3, order=1, per_step=True, learn_steps=True))
CLASSICAL = kx.FixedSteps(MIDPOINT, 3)
BASES = {"classical": CLASSICAL, "learned": LEARNED}


# The scheme, step by step, for NumPy and JAX alike.


def increment(f, a, b, c, t, y, h):
    """Psi_h(t, y) of an explicit Runge-Kutta scheme."""
    k = []
    for i in range(len(b)):
        k.append(f(t + c[i] * h, y + h * sum(a[i][j] * k[j] for j in range(i))))
    return h * sum(b[i] * k[i] for i in range(len(b)))


def march(f, y0, nodes, table, coupling, xp):
    """The pair (y, z) at every node, all steps of the table from one to the next, in shape (nodes, 2, n)."""

    def step(pair, row):
        (y, z), (a, b, c, t, h) = pair, row
        y = coupling * y + (1 - coupling) * z + increment(f, a, b, c, t, z, h)
        z = z - increment(f, a, b, c, t + h, y, -h)
        return (y, z), xp.stack([y, z])

    rows, shares = (table.a, table.b, table.c), table.h
    gaps, intervals = xp.diff(nodes)[:, None], len(nodes) - 1
    times = (nodes[:-1, None] + gaps * (xp.cumsum(shares) - shares)[None, :]).reshape(-1)
    rows = (*[xp.concatenate([x] * intervals) for x in rows], times, (gaps * shares[None, :]).reshape(-1))
    pair = (y0, y0)
    if xp is jnp:
        _, states = jax.lax.scan(step, pair, rows)
    else:
        states = []
        for row in zip(*rows, strict=True):
            pair, state = step(pair, row)
            states.append(state)
        states = np.stack(states)
    return xp.concatenate([xp.stack([y0, y0])[None], states[len(shares) - 1 :: len(shares)]])


def undo(f, y, z, t0, t1, table, coupling):
    """The pair at t0 from that at t1."""
    t = t1
    for a, b, c, share in reversed(list(zip(table.a, table.b, table.c, table.h, strict=True))):
        h = (t1 - t0) * share
        z = z + increment(f, a, b, c, t, y, -h)
        t = t - h
        y = y / coupling + (1 - 1 / coupling) * z - increment(f, a, b, c, t, z, h) / coupling
    return y, z


def slopes(t, y, rates, forcing, xp):
    """Lotka-Volterra with a forcing: coupled, non-linear, dependent on time."""
    meet = y[0] * y[1]
    return xp.stack(
        [
            rates["prey"] * y[0] - meet + forcing[0] * xp.cos(2 * t),
            rates["predator"] * (meet - y[1]) + forcing[1] * xp.cos(t) * y[0],
        ]
    )


def field_of(x, xp=jnp):
    """The field f(t, y, args) with rates and forcing closed over."""
    return lambda t, y, args=None: slopes(t, y, x["args"], x["closed"], xp)


def measure(y1, ys, xp):
    """A scalar of all that a solve returns."""
    weights = np.arange(1.0, 2 * len(TS) + 1).reshape(len(TS), 2)
    return xp.sum(y1 * y1 * np.array([1.0, -0.5])) + xp.sum(xp.sin(ys) * weights)


def naive(x, base, coupling, xp):
    """`measure` of the naive loop."""
    table = base.table(jnp.float64)
    table = table if xp is jnp else jax.tree.map(np.asarray, table)
    nodes = xp.concatenate([x["t0"][None], x["ts"], x["t1"][None]])
    states = march(field_of(x, xp), x["y0"], nodes, table, coupling, xp)[:, 0]
    return measure(states[-1], states[1:-1], xp)


def loss(x, base, coupling, adjoint=None):
    """`measure` of ours; the field takes the rates as args and closes over the forcing."""
    sol = kx.solve(
        lambda t, y, args: slopes(t, y, args, x["closed"], jnp),
        x["y0"],
        x["t0"],
        x["t1"],
        solver=Reversible(base, coupling),
        args=x["args"],
        ts=x["ts"],
        adjoint=adjoint,
    )
    return measure(sol.y1, sol.ys, jnp)


OURS = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
NAIVE = jax.jit(jax.value_and_grad(lambda x, base, coupling: naive(x, base, coupling, jnp), argnums=(0, 1)))


def traced(inputs):
    return jax.tree.map(jnp.asarray, inputs)


def assert_close(ours, theirs, rtol=1e-12):
    """Leaf by leaf, relative to the largest entry of each; no leaf is zero throughout."""
    ours, theirs = jax.tree.leaves_with_path(ours), jax.tree.leaves(theirs)
    for (path, a), b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.abs(b).max(), err_msg=jax.tree_util.keystr(path))
        assert np.abs(b).max() > 0


# Values.


@pytest.mark.parametrize("coupling", [1.0, 0.999, 0.6])
@pytest.mark.parametrize("name", BASES)
def test_values_against_numpy(name, coupling):
    for x in (INPUTS, BACKWARD):
        value, _ = OURS(traced(x), BASES[name], jnp.asarray(coupling))
        np.testing.assert_allclose(value, naive(x, BASES[name], coupling, np), rtol=1e-12)


def test_the_end_can_be_undone():
    """In NumPy, from our pair at the end."""
    solver, table = Reversible(LEARNED, 0.8), LEARNED.table(jnp.float64)
    problem = Problem(field_of(INPUTS), jnp.asarray(INPUTS["y0"]), jnp.asarray(T0), jnp.asarray(T1))
    _, (y1, z1) = eqx.filter_jit(solver.forward)(problem, table)
    assert np.abs(y1 - z1).max() > 1e-4
    table = jax.tree.map(np.asarray, table)
    pair = undo(field_of(INPUTS, np), np.asarray(y1), np.asarray(z1), T0, T1, table, 0.8)
    np.testing.assert_allclose(pair, [INPUTS["y0"]] * 2, rtol=1e-12)


ORDERS = {"euler": (EULER, 256), "midpoint": (MIDPOINT, 128), "rk4": (RK4, 64), "dopri5": (DOPRI5, 32)}


@pytest.mark.parametrize("name", ORDERS)
def test_measured_order(name):
    tableau, finest = ORDERS[name]
    steps = finest * np.array([2, 3, 4]) // 4
    errors = []
    for n in steps:
        solver = Reversible(kx.FixedSteps(tableau, int(n)))
        y1 = kx.solve(circle_and_bell, solution(0.0), 0.0, 2.0, solver=solver).y1
        errors.append(np.abs(y1 - solution(2.0)).max())
    assert min(errors) > 1e-12
    assert -np.polyfit(np.log(steps), np.log(errors), 1)[0] >= tableau.order - 0.2


def test_a_contracting_field_needs_a_lower_coupling():
    """y - z grows by lambda exp(a h) a step; at lambda = exp(-a h) no longer."""
    rate, steps = 20.0, 400
    particular = lambda t: (rate * np.cos(t) + np.sin(t)) / (1 + rate**2)
    truth = particular(1.0) + (1 - particular(0.0)) * np.exp(-rate)

    def error(coupling):
        solver = Reversible(kx.FixedSteps(RK4, steps), coupling)
        sol = kx.solve(lambda t, y, args: jnp.cos(t) - rate * y, np.array([1.0]), 0.0, 1.0, solver=solver)
        return abs(sol.y1[0] - truth)

    assert error(np.exp(-rate / steps)) < 1e-7
    assert error(0.999) > 1e2 * error(np.exp(-rate / steps))


def test_outputs():
    """`steps` counts per interval of t0, *ts, t1. One known to be empty costs nothing, and no empty one changes y."""
    solver = Reversible(kx.FixedSteps(RK4, 40))

    def run(ts):
        return kx.solve(circle_and_bell, solution(0.0), 0.0, 2.0, solver=solver, ts=ts)

    for ts, intervals in (([0.0, 0.5, 1.2, 2.0], 3), ([0.5, 0.8, 0.8, 1.2], 5)):
        sol, later = run(ts), jax.jit(run)(jnp.array(ts))
        np.testing.assert_allclose(sol.ys, solution(np.array(ts)), rtol=0, atol=3e-6)
        np.testing.assert_allclose(sol.y1, solution(2.0), rtol=0, atol=3e-6)
        assert sol.stats.nfe == sol.stats.nfe_backward == 8 * 40 * intervals
        assert sol.stats.accepted == 40 * intervals
        assert later.stats.nfe == 8 * 40 * (len(ts) + 1)
        np.testing.assert_allclose(later.ys, sol.ys, rtol=0, atol=1e-15)
        np.testing.assert_allclose(later.y1, sol.y1, rtol=0, atol=1e-15)


# Derivatives.


@pytest.mark.parametrize("inputs", [INPUTS, BACKWARD], ids=["forward", "backward"])
@pytest.mark.parametrize("name", BASES)
def test_gradients_against_plain_reverse_mode(name, inputs):
    """Of the naive loop: in y0, args, closure, t0, t1, ts and the learned table."""
    arguments = (traced(inputs), BASES[name], jnp.asarray(0.9))
    (value, ours), (truth, theirs) = OURS(*arguments), NAIVE(*arguments)
    np.testing.assert_allclose(value, truth, rtol=1e-12)
    assert_close(ours, theirs)


@pytest.mark.parametrize("name", BASES)
def test_gradients_against_differences(name, rng):
    """Of the naive loop in NumPy, along random directions."""
    inputs = (INPUTS, BASES[name])
    gradient = OURS(traced(INPUTS), BASES[name], jnp.asarray(0.9))[1]
    for _ in range(3):
        d = jax.tree.map(lambda x: rng.normal(size=np.shape(x)), inputs)
        near = [naive(*jax.tree.map(lambda x, d, e=e: x + e * d, inputs, d), 0.9, np) for e in (-1e-5, 1e-5)]
        ours = sum(np.sum(g * d) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(d), strict=True))
        np.testing.assert_allclose(ours, (near[1] - near[0]) / 2e-5, rtol=1e-6)


@pytest.mark.parametrize("one", ["ts", "base"])
def test_what_is_not_differentiated_may_be_left_out(one):
    """One input alone: the program is then another one."""
    x, coupling = traced(INPUTS), jnp.asarray(0.9)
    whole = dict(zip(("x", "base"), NAIVE(x, LEARNED, coupling)[1], strict=True))
    if one == "base":
        ours = jax.jit(jax.grad(lambda base: loss(x, base, coupling)))(LEARNED)
        assert_close(ours, whole["base"])
    else:
        ours = jax.jit(jax.grad(lambda part: loss({**x, one: part}, LEARNED, coupling)))(x[one])
        assert_close(ours, whole["x"][one])


@pytest.mark.parametrize("ts", [[T0], [T0, 1.0, T1]], ids=str)
def test_gradients_through_ends_that_are_saved(ts):
    base, x = kx.FixedSteps(EULER, 3), traced(INPUTS)
    nodes = jnp.array(sorted({T0, T1, *ts}))

    def ours(y0):
        sol = kx.solve(field_of(x), y0, T0, T1, solver=Reversible(base), ts=ts)
        return jnp.sum(sol.y1**2) + jnp.sum(jnp.sin(sol.ys))

    def truth(y0):
        states = march(field_of(x), y0, nodes, base.table(jnp.float64), 0.999, jnp)[:, 0]
        return jnp.sum(states[-1] ** 2) + jnp.sum(jnp.sin(states[: len(ts)]))

    assert_close(jax.jit(jax.grad(ours))(x["y0"]), jax.jit(jax.grad(truth))(x["y0"]))


def test_forward_mode_and_the_hessian():
    """The plain scan; and forward over reverse, through the undone steps."""
    base, x, nodes = kx.FixedSteps(EULER, 3), traced(INPUTS), jnp.array([T0, T1])

    def ours(y0, adjoint):
        sol = kx.solve(field_of(x), y0, T0, T1, solver=Reversible(base), adjoint=adjoint)
        return jnp.sum(jnp.sin(sol.y1))

    def both(y0):
        tangent = jax.jacfwd(lambda y0: ours(y0, kx.ForwardMode()))
        return tangent(y0), jax.hessian(lambda y0: ours(y0, kx.DiscreteAdjoint()))(y0)

    def truth(y0):
        return jnp.sum(jnp.sin(march(field_of(x), y0, nodes, base.table(y0.dtype), 0.999, jnp)[-1, 0]))

    theirs = jax.jit(lambda y0: (jax.grad(truth)(y0), jax.hessian(truth)(y0)))(x["y0"])
    assert_close(jax.jit(both)(x["y0"]), theirs, 1e-11)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64], ids=["float32", "float64"])
def test_rounding_over_a_thousand_steps(dtype, rng):
    """The default coupling; differences of the naive loop in NumPy, in float64."""
    base, d, nodes = kx.FixedSteps(MIDPOINT, 1000), rng.normal(size=2), np.array([T0, 4.0])
    table = jax.tree.map(np.asarray, base.table(jnp.float64))

    def end(y0):
        return np.sum(march(field_of(INPUTS, np), y0, nodes, table, 0.999, np)[-1, 0] ** 2)

    def ours(y0):
        x = jax.tree.map(lambda x: jnp.asarray(x, dtype), INPUTS)
        sol = kx.solve(field_of(x), y0, T0, 4.0, solver=Reversible(base))
        return jnp.sum(sol.y1**2)

    gradient = jax.jit(jax.grad(ours))(jnp.asarray(INPUTS["y0"], dtype))
    assert gradient.dtype == dtype
    slope = (end(INPUTS["y0"] + 1e-5 * d) - end(INPUTS["y0"] - 1e-5 * d)) / 2e-5
    np.testing.assert_allclose(np.asarray(gradient) @ d, slope, rtol=3e-5 if dtype == jnp.float32 else 1e-8)


# Shapes of the state.


def scaled(t, y, args):
    """A field on a tree of two shapes."""
    return {"a": jnp.sin(y["b"][0]) * y["a"] * args, "b": jnp.cos(t) * y["b"] - jnp.sum(y["a"])}


STATE = {"a": np.linspace(0.2, 1.0, 6).reshape(2, 3), "b": np.array([0.5, -0.3])}


def square(y):
    return sum(jnp.sum(x * x) for x in jax.tree.leaves(y))


@pytest.mark.slow
def test_trees_and_batches():
    """Samples along the last axis, and `jax.vmap`, against the naive loop on one sample after another."""
    batch = jax.tree.map(lambda x: jnp.stack([x, 1.2 * x, 1.4 * x], -1), STATE)
    _, unflatten = ravel_pytree(STATE)
    nodes = jnp.array([0.0, 0.4, 1.0])

    def ours(y0, rate, base, batch_axis):
        solver = Reversible(base)
        sol = kx.solve(scaled, y0, 0.0, 1.0, solver=solver, args=rate, batch_axis=batch_axis, ts=[0.4])
        return square(sol.y1) + square(sol.ys)

    def mapped(y0, rate, base):
        return jnp.sum(jax.vmap(lambda y0: ours(y0, rate, base, None), in_axes=-1)(y0))

    def one_by_one(y0, rate, base):
        def one(y0):
            f = lambda t, y: ravel_pytree(scaled(t, unflatten(y), rate))[0]
            return square(march(f, ravel_pytree(y0)[0], nodes, base.table(nodes.dtype), 0.999, jnp)[1:, 0])

        return sum(jax.lax.map(one, jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), y0)))

    arguments = (batch, jnp.asarray(0.7), LEARNED)
    theirs = jax.jit(jax.grad(one_by_one, argnums=(0, 1, 2)))(*arguments)
    for function in (mapped, lambda *x: ours(*x, -1)):
        assert_close(jax.jit(jax.grad(function, argnums=(0, 1, 2)))(*arguments), theirs)


# What it costs.


@pytest.mark.parametrize(("name", "ts"), [("classical", None), ("learned", TS)], ids=["end", "outputs"])
def test_nfe_is_what_the_field_counts(name, ts):
    """Forwards 2 s evaluations a step; backwards as many, each with its product."""
    solver = Reversible(BASES[name])
    with counted(lambda t, y, args: jnp.sin(y) * jnp.cos(3 * t) - y * y) as (field, calls):

        def end(y0):
            sol = kx.solve(field, y0, T0, T1, solver=solver, ts=ts)
            return jnp.sum(sol.y1) + (0.0 if ts is None else jnp.sum(sol.ys)), sol.stats

        end(jnp.array([0.3, 1.0]))
        jax.effects_barrier()
        alone = calls["values"]
        _, stats = jax.grad(end, has_aux=True)(jnp.array([0.3, 1.0]))
        jax.effects_barrier()
    assert alone == stats.nfe == 2 * solver.solver.stages * solver.steps * (1 if ts is None else 4)
    assert calls["values"] - alone == stats.nfe + stats.nfe_backward
    assert calls["products"] == stats.nfe_backward == stats.nfe


def test_memory_does_not_grow_with_the_steps():
    """Of the gradient, as XLA plans it; that of a plain scan does."""
    y0 = jnp.zeros((256, 512))

    def planned(steps, adjoint):
        solver = Reversible(kx.FixedSteps(MIDPOINT, steps))

        def end(y0, rate):
            field = lambda t, y, args: jnp.tanh(args * y) * t
            sol = kx.solve(field, y0, 0.0, 1.0, solver=solver, args=rate, ts=[0.3, 0.6], adjoint=adjoint)
            return jnp.sum(sol.y1) + jnp.sum(sol.ys)

        compiled = jax.jit(jax.grad(end, argnums=(0, 1))).lower(y0, jnp.asarray(0.5)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    few, many = planned(100, kx.DiscreteAdjoint()), planned(1000, kx.DiscreteAdjoint())
    assert abs(many - few) <= 0.05 * few
    assert planned(100, kx.ForwardMode()) > 10 * few


def test_changed_numbers_do_not_compile_anew():
    @eqx.filter_jit
    @eqx.debug.assert_max_traces(max_traces=1)
    def run(solver, y0, t1):
        return kx.solve(lambda t, y, args: -y, y0, 0.0, t1, solver=solver).y1

    def end(*numbers):
        seed, coupling, y0, t1 = numbers
        return jax.grad(lambda y0: jnp.sum(run(Reversible(moved(LEARNED, seed), coupling), y0, t1) ** 2))(y0)

    y0, t1 = jnp.ones(1), jnp.asarray(1.0)
    first = end(1, 0.9, y0, t1)
    for other in ((1, 0.7, y0, t1), (2, 0.9, y0, t1), (1, 0.9, y0 + 1, t1), (1, 0.9, y0, t1 + 1)):
        assert end(*other) != first


def test_the_coupling_carries_no_gradient():
    slope = jax.grad(lambda c: loss(traced(INPUTS), CLASSICAL, c))(jnp.asarray(0.9))
    assert slope == 0
    assert not any(jax.tree.leaves(kx.trainable(Reversible(CLASSICAL))))


# How it fails.


def test_failures_have_a_status():
    solver = Reversible(CLASSICAL)
    sol = kx.solve(lambda t, y, args: y * y, np.array([1e60]), 0.0, 2.0, solver=solver, throw=False)
    assert kx.Status(int(sol.status)) == kx.Status.non_finite
    assert np.isnan(sol.y1).all()
    with pytest.raises(UserError, match="ts must be sorted"):
        kx.solve(circle_and_bell, solution(0.0), 0.0, 2.0, solver=solver, ts=[1.0, 0.5])
    at = jax.jit(lambda ts: kx.solve(circle_and_bell, solution(0.0), 0.0, 2.0, solver=solver, ts=ts, throw=False))
    assert kx.Status(int(at(jnp.array([1.0, 0.5])).status)) == kx.Status.unordered_times
    assert kx.Status(int(at(jnp.array([0.5, 1.0])).status)) == kx.Status.ok


def test_a_learned_base_says_where_it_is_used_off_its_grid():
    solver = Reversible(LEARNED.for_interval(0.0, 1.0))
    with pytest.warns(kx.OffGridWarning, match="trained for 3 steps from t=0 to t=1"):
        kx.solve(circle_and_bell, solution(0.0), 0.0, 2.0, solver=solver)


REFUSED = {
    "adaptive": (lambda: Reversible(kx.Adaptive(DOPRI5)), "wraps FixedSteps or LearnedRK, got Adaptive: "),
    "itself": (lambda: Reversible(Reversible(CLASSICAL)), "wraps FixedSteps or LearnedRK, got Reversible: "),
    "a tableau": (lambda: Reversible(RK4), "wraps FixedSteps or LearnedRK, got Tableau: "),
    "a class": (lambda: Reversible(kx.FixedSteps), "wraps FixedSteps or LearnedRK, got "),
    "zero": (lambda: Reversible(CLASSICAL, 0), "coupling must be a number > 0 and <= 1, got 0"),
    "above one": (lambda: Reversible(CLASSICAL, 1.1), "coupling must be a number > 0 and <= 1, got 1.1"),
    "not a number": (lambda: Reversible(CLASSICAL, float("nan")), "coupling must be a number > 0 and <= 1, got nan"),
    "two numbers": (lambda: Reversible(CLASSICAL, [0.9, 0.8]), "coupling must be a number > 0 and <= 1, got"),
    "a file's": (
        lambda: from_json({**to_json(Reversible(CLASSICAL)), "solver": to_json(kx.Adaptive(DOPRI5))}),
        "wraps FixedSteps or LearnedRK, got Adaptive: ",
    ),
    "a damaged file's": (
        lambda: from_json({**to_json(Reversible(CLASSICAL)), "solver": None}, "old.json"),
        "old.json is a damaged solver file",
    ),
    "a file's without a coupling": (
        lambda: from_json({k: v for k, v in to_json(Reversible(CLASSICAL)).items() if k != "coupling"}, "old.json"),
        "old.json is a damaged solver file",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    make, message = REFUSED[case]
    with pytest.raises(UserError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_files_bring_it_back_bit_for_bit(tmp_path):
    for solver in (Reversible(LEARNED, 0.9876543210123), Reversible(CLASSICAL)):
        kx.save(tmp_path / "solver.json", solver)
        back = kx.load(tmp_path / "solver.json")
        assert jax.tree.structure(back) == jax.tree.structure(solver)
        assert bool(eqx.tree_equal(back, solver))


def test_it_prints_on_one_line():
    assert str(Reversible(CLASSICAL, 0.9)) == "Reversible(FixedSteps(Midpoint, steps=3), coupling=0.9)"
    text = str(Reversible(LEARNED))
    assert text.startswith("Reversible(LearnedRK from Midpoint: ") and "\n" not in text and "coupling=0.999" in text

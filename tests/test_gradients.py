"""Gradients: against diffrax at tight tolerance, and against finite differences on the frozen mesh.

The frozen mesh is the sequence of steps that a solve took. The exact derivative of what it computed is that of a plain
loop over these steps, here in NumPy, whose differences know nothing of any automatic differentiation.
"""

import functools
import itertools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from slowness import mostly_slow

import kuttax as kx
from kuttax.errors import UserError
from kuttax.solvers.base.problem import Problem
from kuttax.solvers.rk.adaptive import tape as tape_module
from kuttax.solvers.rk.adaptive.march import march
from kuttax.solvers.rk.tableaus import BOSH3, DOPRI5, DOPRI8, HEUN2, HEUN3, RK4

T0, T1 = 0.2, 3.0
TS = np.array([0.5, 1.1, 1.15, 2.8])
Y0 = np.array([1.0, 1.5])
RATES = {"prey": 1.1, "predator": 0.8}
FORCING = np.array([0.3, -0.2])
INPUTS = {"y0": Y0, "args": RATES, "closed": FORCING, "t0": T0, "t1": T1, "ts": TS}


def slopes(t, y, rates, forcing, cos):
    """Lotka-Volterra with a forcing: coupled, non-linear, dependent on time."""
    meet = y[0] * y[1]
    return [
        rates["prey"] * y[0] - meet + forcing[0] * cos(2 * t),
        rates["predator"] * (meet - y[1]) + forcing[1] * cos(t) * y[0],
    ]


def field_with(forcing):
    """The field, which closes over an array."""
    return lambda t, y, args: jnp.stack(slopes(t, y, args, forcing, jnp.cos))


def measure(y1, ys, xp):
    """A scalar of all that a solve returns."""
    weights = np.arange(1.0, 2.0 * len(TS) + 1).reshape(len(TS), 2)
    return xp.sum(y1 * y1 * np.array([1.0, -0.5])) + xp.sum(xp.sin(ys) * weights)


def loss(inputs, solver, adjoint=None, max_steps=4096):
    x = inputs
    sol = kx.solve(
        field_with(x["closed"]),
        x["y0"],
        x["t0"],
        x["t1"],
        solver=solver,
        args=x["args"],
        ts=x["ts"],
        adjoint=adjoint,
        max_steps=max_steps,
    )
    return measure(sol.y1, sol.ys, jnp)


def traced(inputs):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), inputs)


def differences(function, inputs, eps=2e-4):
    """Central differences of fourth order in every entry of a tree of float64 numbers."""
    leaves, structure = jax.tree.flatten(jax.tree.map(lambda x: np.asarray(x, np.float64), inputs))

    def at(which, entry, shift):
        moved = [leaf.copy() for leaf in leaves]
        moved[which].reshape(-1)[entry] += shift
        return function(jax.tree.unflatten(structure, moved))

    result = []
    for which, leaf in enumerate(leaves):
        of_leaf = np.zeros(leaf.size)
        for entry in range(leaf.size):
            near = at(which, entry, eps) - at(which, entry, -eps)
            far = at(which, entry, 2 * eps) - at(which, entry, -2 * eps)
            of_leaf[entry] = (8 * near - far) / (12 * eps)
        result.append(of_leaf.reshape(leaf.shape))
    return jax.tree.unflatten(structure, result)


def assert_close(ours, theirs, rtol):
    """Leaf by leaf, relative to the largest entry of each."""
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for (path, a), b in zip(jax.tree.leaves_with_path(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.abs(b).max(), err_msg=jax.tree_util.keystr(path))
        assert np.abs(b).max() > 0


# The frozen mesh.


def nodes_of(solver, inputs, field=None, batched=False):
    """The times of the accepted steps, one list a sample."""
    x = traced(inputs)
    problem = Problem(
        field_with(x["closed"]) if field is None else field,
        x["y0"],
        x["t0"],
        x["t1"],
        x["ts"],
        x["args"],
        batched,
        max_steps=400,
    )
    final = eqx.filter_jit(lambda problem: march(solver, problem, taped=True, bounded=False))(problem)
    starts, accepted = np.asarray(final.tape.t), np.asarray(final.accepted)
    if accepted.ndim == 0:
        return np.append(starts[:accepted], inputs["t1"])
    return [np.append(starts[:count, i], inputs["t1"]) for i, count in enumerate(accepted)]


def replay(tableau, f, y, nodes, t0, t1, ts):
    """y1 and ys over the nodes, the first and the last of which are moved to t0 and t1, by a plain loop."""
    nodes = np.concatenate([[t0], nodes[1:-1], [t1]])
    ys = np.full((len(ts), len(y)), np.nan)
    saved = 0
    for start, end in itertools.pairwise(nodes):
        h, k = end - start, []
        for i in range(tableau.stages):
            inner = y + h * sum((tableau.a[i, j] * k[j] for j in range(i)), np.zeros(len(y)))
            k.append(np.array(f(start + tableau.c[i] * h, inner)))
        y_end = y + h * sum(b * slope for b, slope in zip(tableau.b, k, strict=True))
        k.append(np.array(f(end, y_end)))
        while saved < len(ts) and (ts[saved] - end) * np.sign(h) <= 0:
            powers = ((ts[saved] - start) / h) ** np.arange(1, tableau.dense.shape[1] + 1)
            ys[saved] = y + h * sum(w * slope for w, slope in zip(tableau.dense @ powers, k, strict=True))
            saved += 1
        y = y_end
    return y, ys


def replayed_loss(inputs, tableau, nodes):
    x = inputs

    def f(t, y):
        return slopes(t, y, x["args"], x["closed"], np.cos)

    y1, ys = replay(tableau, f, x["y0"], nodes, x["t0"], x["t1"], x["ts"])
    return measure(y1, ys, np)


@pytest.mark.parametrize("tableau", mostly_slow([BOSH3, DOPRI5, DOPRI8], DOPRI5), ids=["bosh3", "dopri5", "dopri8"])
def test_joint_against_differences_on_the_frozen_mesh(tableau):
    solver = kx.Adaptive(tableau, 1e-4, 1e-4)
    nodes = nodes_of(solver, INPUTS)
    assert len(nodes) >= 4
    value, gradient = jax.jit(jax.value_and_grad(lambda x: loss(x, solver)))(traced(INPUTS))
    np.testing.assert_allclose(value, replayed_loss(INPUTS, tableau, nodes), rtol=1e-12)
    assert_close(gradient, differences(lambda x: replayed_loss(x, tableau, nodes), INPUTS), 1e-8)


@pytest.mark.slow
def test_backward_in_time_against_differences_on_the_frozen_mesh():
    solver = kx.Adaptive(DOPRI5, 1e-5, 1e-5)
    inputs = {**INPUTS, "y0": np.array([1.1, 0.7]), "t0": T1, "t1": T0, "ts": TS[::-1].copy()}
    nodes = nodes_of(solver, inputs)
    gradient = jax.jit(jax.grad(lambda x: loss(x, solver)))(traced(inputs))
    assert_close(gradient, differences(lambda x: replayed_loss(x, DOPRI5, nodes), inputs), 1e-8)


# Per sample: very different stiffness, shared parameters.

STIFFNESS = np.array([[0.2], [5.0], [60.0]])


def relaxing(t, y, args, rate, cos):
    """Towards a curve, at a rate of the sample's own."""
    return [rate * args["speed"] * (cos(args["beat"] * t) - y[0]), y[0] * y[1] * args["coupling"] - y[1]]


BATCH = {
    "y0": np.array([[1.0, 0.5], [0.2, -0.5], [2.0, 1.0]]),
    "args": {"speed": 1.0, "beat": 2.0, "coupling": 0.7},
    "closed": STIFFNESS[:, 0],
    "t0": T0,
    "t1": T1,
    "ts": TS,
}


def batch_field(t, y, args):
    """The rate travels in the state, so that every sample has its own."""
    value, rate = y
    return jnp.stack(relaxing(t, value, args, rate, jnp.cos)), jnp.zeros_like(rate)


def batch_loss(x, solver, axis=0, adjoint=None):
    y0 = (jnp.moveaxis(x["y0"], 0, axis), x["closed"])
    if axis != 0:
        y0 = (y0[0], x["closed"][None, :])
    field = batch_field if axis == 0 else lambda t, y, a: _with_axis(batch_field(t, (y[0], y[1][0]), a))
    sol = kx.solve(
        field,
        y0,
        x["t0"],
        x["t1"],
        solver=solver,
        args=x["args"],
        ts=x["ts"],
        batch_axis=axis,
        adjoint=adjoint,
    )
    y1, ys = (jnp.moveaxis(sol.y1[0], axis, 0), jnp.moveaxis(sol.ys[0], axis + 1 if axis >= 0 else axis, 1))
    return sum(measure(y1[i], ys[:, i], jnp) for i in range(3))


def _with_axis(slope):
    return slope[0], slope[1][None]


@pytest.mark.parametrize("axis", mostly_slow([0, -1]))
def test_per_sample_against_differences_on_the_frozen_meshes(axis):
    """With twenty times as many steps for the stiffest sample; summed over the batch for what is shared."""
    solver = kx.Adaptive(BOSH3, 1e-4, 1e-4, control="per_sample")
    inputs = {**BATCH, "y0": (BATCH["y0"], STIFFNESS[:, 0])}
    meshes = nodes_of(solver, inputs, batch_field, batched=True)
    assert len(meshes[2]) > 5 * len(meshes[0])

    def truth(x):
        total = 0.0
        for i, nodes in enumerate(meshes):
            f = functools.partial(relaxing, args=x["args"], rate=x["closed"][i], cos=np.cos)
            y1, ys = replay(BOSH3, f, x["y0"][i], nodes, x["t0"], x["t1"], x["ts"])
            total += measure(y1, ys, np)
        return total

    value, gradient = jax.jit(jax.value_and_grad(lambda x: batch_loss(x, solver, axis)))(traced(BATCH))
    np.testing.assert_allclose(value, truth(BATCH), rtol=1e-11)
    assert_close(gradient, differences(truth, BATCH, eps=1e-5), 1e-5)


@pytest.mark.slow
def test_joint_batch_is_the_gradient_of_the_whole():
    """Of a batch under joint control: the same as vmapping the field by hand."""
    solver = kx.Adaptive(HEUN2, 1e-3, 1e-3)
    x = traced(BATCH)

    def whole(x):
        field = jax.vmap(batch_field, in_axes=(None, 0, None))
        y0 = (x["y0"], x["closed"])
        sol = kx.solve(field, y0, x["t0"], x["t1"], solver=solver, args=x["args"], ts=x["ts"])
        return sum(measure(sol.y1[0][i], sol.ys[0][:, i], jnp) for i in range(3))

    assert_close(jax.jit(jax.grad(lambda x: batch_loss(x, solver)))(x), jax.jit(jax.grad(whole))(x), 1e-10)


# Against diffrax at tight tolerance.


@functools.cache
def diffrax_gradient():
    """Dopri8 at 1e-12, through its own checkpointed adjoint."""

    def theirs(x):
        sol = diffrax.diffeqsolve(
            diffrax.ODETerm(field_with(x["closed"])),
            diffrax.Dopri8(),
            x["t0"],
            x["t1"],
            None,
            x["y0"],
            x["args"],
            stepsize_controller=diffrax.PIDController(1e-12, 1e-12),
            saveat=diffrax.SaveAt(subs=[diffrax.SubSaveAt(t1=True), diffrax.SubSaveAt(ts=x["ts"])]),
            max_steps=400,
        )
        y1, ys = sol.ys
        return measure(y1[0], ys, jnp)

    return jax.jit(jax.grad(theirs))(traced(INPUTS))


TIGHT = {
    "discrete": (kx.Adaptive(DOPRI5, 1e-10, 1e-10), kx.DiscreteAdjoint()),
    "backsolve": (kx.Adaptive(DOPRI5, 1e-10, 1e-10), kx.BacksolveAdjoint()),
    "backsolve by another": (kx.FixedSteps(RK4, 300), kx.BacksolveAdjoint(kx.Adaptive(DOPRI5, 1e-10, 1e-10))),
    "fixed": (kx.FixedSteps(RK4, 300), None),
    "diffrax": (kx.FromDiffrax(diffrax.Dopri5(), 1e-10, 1e-10), None),
}


@pytest.mark.parametrize("name", mostly_slow(TIGHT, "backsolve"))
def test_against_diffrax_at_tight_tolerance(name):
    solver, adjoint = TIGHT[name]
    gradient = jax.jit(jax.grad(lambda x: loss(x, solver, adjoint, max_steps=1000)))(traced(INPUTS))
    assert_close(gradient, diffrax_gradient(), 1e-6)


@pytest.mark.slow
def test_backsolve_of_a_batch():
    """Per-sample forwards; the adjoint equation is solved jointly, and backwards the stiff batch would blow up."""
    solver = kx.Adaptive(DOPRI5, 1e-10, 1e-10, control="per_sample")
    x = traced({**BATCH, "closed": np.array([0.2, 1.0, 3.0])})
    ours, truth = (
        jax.jit(jax.grad(lambda x, adjoint=adjoint: batch_loss(x, solver, adjoint=adjoint)))(x)
        for adjoint in (kx.BacksolveAdjoint(), kx.DiscreteAdjoint())
    )
    assert_close(ours, truth, 1e-6)


def test_backsolve_refuses_a_learned_tableau():
    for solver, adjoint in (
        (kx.LearnedRK.from_tableau(RK4, 3), kx.BacksolveAdjoint()),
        (kx.FixedSteps(RK4, 3), kx.BacksolveAdjoint(kx.LearnedRK.from_tableau(RK4, 3))),
    ):
        with pytest.raises(UserError, match="BacksolveAdjoint knows nothing of a learned tableau: use DiscreteAdjoint"):
            loss(traced(INPUTS), solver, adjoint)


# Learned tableaus.


@pytest.mark.parametrize("tableau", mostly_slow([RK4, HEUN3]), ids=["projected", "closed"])
def test_learned_tableau_against_differences(tableau):
    """Of free coefficients and step sizes, through the order conditions; the mesh moves with the learned steps."""
    start = kx.LearnedRK.from_tableau(tableau, 3, order=2 if tableau is RK4 else 3, per_step=True, learn_steps=True)
    keys = iter(jax.random.split(jax.random.key(1), 8))
    solver = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(next(keys), x.shape, x.dtype), start)
    x = traced(INPUTS)
    leaves, structure = jax.tree.flatten(solver)

    def value(leaves):
        return loss(x, jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in leaves]))

    compiled = jax.jit(value)
    truth = differences(lambda leaves: float(compiled(leaves)), leaves, eps=1e-3)
    assert_close(jax.tree.leaves(jax.jit(jax.grad(value))(leaves)), truth, 1e-5)


def test_fixed_steps_against_differences():
    """Over a NumPy loop with the same steps: y0, args, closed-over arrays, t0, t1, ts."""
    solver = kx.FixedSteps(BOSH3, 4)

    def truth(x):
        y, ends, ys = x["y0"], [x["t0"], *x["ts"], x["t1"]], []
        for start, end in itertools.pairwise(ends):

            def f(t, y):
                return slopes(t, y, x["args"], x["closed"], np.cos)

            y, _ = replay(BOSH3, f, y, np.linspace(start, end, 5), start, end, [])
            ys.append(y)
        return measure(y, np.array(ys[:-1]), np)

    gradient = jax.jit(jax.grad(lambda x: loss(x, solver)))(traced(INPUTS))
    assert_close(gradient, differences(truth, INPUTS), 1e-8)


# Under vmap, and in other modes.


@pytest.mark.slow
def test_vmap_of_gradients_is_a_loop():
    """And of the gradient with respect to what is shared: a sum."""
    solver = kx.Adaptive(HEUN2, 1e-3, 1e-3)
    starts = jnp.array([[1.0, 1.5], [0.3, 0.5], [2.0, 3.0]])
    shared = traced({name: value for name, value in INPUTS.items() if name != "y0"})

    def one(y0, shared):
        return loss({**shared, "y0": y0}, solver)

    of_y0, of_shared = jax.jit(jax.vmap(jax.grad(one, argnums=(0, 1)), in_axes=(0, None)))(starts, shared)
    total = jax.jit(jax.grad(lambda shared: jax.vmap(one, in_axes=(0, None))(starts, shared).sum()))(shared)
    single = jax.jit(jax.grad(one, argnums=(0, 1)))
    singles = [single(y0, shared) for y0 in starts]
    assert_close(of_y0, jnp.stack([g for g, _ in singles]), 1e-11)
    assert_close(of_shared, jax.tree.map(lambda *g: jnp.stack(g), *[g for _, g in singles]), 1e-11)
    assert_close(total, jax.tree.map(lambda *g: sum(g), *[g for _, g in singles]), 1e-11)


STEPPED = {
    "adaptive": (kx.Adaptive(HEUN2, 1e-2, 1e-2), kx.ForwardMode()),
    "fixed": (kx.FixedSteps(RK4, 4), None),
    "learned": (kx.LearnedRK.from_tableau(RK4, 4, order=2, learn_steps=True), None),
}


@pytest.mark.parametrize("name", mostly_slow(STEPPED, "adaptive"))
def test_forward_mode_is_the_transpose_of_reverse_mode(name):
    """jax.jvp along a direction against the gradient's inner product with it."""
    solver, adjoint = STEPPED[name]
    x = traced(INPUTS)
    direction = jax.tree.map(lambda x: jnp.cos(jnp.arange(1.0, x.size + 1).reshape(x.shape)), x)
    _, tangent = jax.jit(lambda x, v: jax.jvp(lambda x: loss(x, solver, adjoint, 64), (x,), (v,)))(x, direction)
    gradient = jax.jit(jax.grad(lambda x: loss(x, solver)))(x)  # DiscreteAdjoint: held against differences above
    product = sum(jnp.sum(g * v) for g, v in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
    np.testing.assert_allclose(tangent, product, rtol=1e-11)


HESSIANS = {
    "adaptive": STEPPED["adaptive"],
    "fixed": STEPPED["fixed"],
    "discrete": (kx.Adaptive(HEUN2, 1e-2, 1e-2), kx.DiscreteAdjoint()),
}


@pytest.mark.parametrize("name", mostly_slow(HESSIANS, "fixed"))
def test_hessian_against_differences_of_the_gradient(name):
    """The mesh must not move between the evaluations: steps of 0.3, none of which is rejected."""
    solver, adjoint = HESSIANS[name]
    if isinstance(solver, kx.Adaptive):
        solver = kx.Adaptive(HEUN2, 1.0, 1.0, first_step=0.3, factor_max=1.0)
    x = traced(INPUTS)

    def value(y0, prey):
        inputs = {
            **x,
            "y0": y0,
            "args": {**x["args"], "prey": prey},
            "t1": jnp.asarray(1.4),
            "ts": jnp.array([0.5, 1.3]),
        }
        sol = kx.solve(
            field_with(inputs["closed"]),
            inputs["y0"],
            T0,
            inputs["t1"],
            solver=solver,
            args=inputs["args"],
            ts=inputs["ts"],
            adjoint=adjoint,
            max_steps=8,
        )
        return jnp.sum(jnp.sin(sol.y1)) + jnp.sum(sol.ys**2)

    at = (x["y0"], x["args"]["prey"])
    hessian = jax.jit(jax.hessian(value, argnums=(0, 1)))(*at)
    gradient = jax.jit(jax.grad(value, argnums=(0, 1)))
    for i in range(2):
        truth = differences(lambda y, i=i: float(gradient(jnp.asarray(y[0]), jnp.asarray(y[1]))[0][i]), at)
        assert_close(jax.tree.map(lambda h, i=i: h[i], hessian[0]), truth, 1e-7)
    truth = differences(lambda y: float(gradient(jnp.asarray(y[0]), jnp.asarray(y[1]))[1]), at)
    assert_close(hessian[1], truth, 1e-7)


REFUSING = {
    "adaptive": (kx.Adaptive(DOPRI5, 1e-4, 1e-4), kx.DiscreteAdjoint()),
    "backsolve": (kx.Adaptive(DOPRI5, 1e-4, 1e-4), kx.BacksolveAdjoint()),
    "diffrax": (kx.FromDiffrax(diffrax.Tsit5(), 1e-4, 1e-4), kx.DiscreteAdjoint()),
}


@pytest.mark.parametrize("name", mostly_slow(REFUSING))
@pytest.mark.parametrize("derivative", [jax.jacfwd, lambda f: jax.jacrev(jax.jacrev(f))], ids=["forward", "twice"])
def test_derivatives_that_an_adjoint_does_not_have(name, derivative):
    solver, adjoint = REFUSING[name]
    end = lambda y0: kx.solve(lambda t, y, args: -y * y, y0, 0.0, 1.0, solver=solver, adjoint=adjoint).y1
    with pytest.raises(UserError, match=r"use adjoint=kx\.ForwardMode\(\), with max_steps near") as caught:
        derivative(end)(jnp.ones(2))
    assert "\n" not in str(caught.value)


# More accepted steps than the tape has slots.


@pytest.mark.slow
@pytest.mark.parametrize(("slots", "control"), [(4, "joint"), (2, "per_sample")])
def test_recomputed_steps_are_exact(slots, control, monkeypatch):
    """Against ForwardMode, which keeps no tape; states are kept at a stride longer than the chunk they refill."""
    monkeypatch.setattr(tape_module, "_FEWEST", slots)
    monkeypatch.setattr(tape_module, "_MOST", slots)
    solver = kx.Adaptive(HEUN2, 1e-3, 1e-3, control=control)

    def field(t, y, args):  # a field of this test alone: the number of slots is read when it is compiled
        value, rate = y
        return jnp.stack(relaxing(t, value, args, rate, jnp.cos)), jnp.zeros_like(rate)

    def value(x, adjoint):
        sol = kx.solve(
            field,
            (x["y0"], x["closed"]),
            x["t0"],
            x["t1"],
            solver=solver,
            args=x["args"],
            ts=x["ts"],
            batch_axis=0,
            adjoint=adjoint,
            max_steps=512,
        )
        return sum(measure(sol.y1[0][i], sol.ys[0][:, i], jnp) for i in range(3)), sol.stats.accepted

    x = traced({**BATCH, "closed": np.array([0.2, 5.0, 30.0])})
    ours, accepted = jax.jit(jax.grad(lambda x: value(x, kx.DiscreteAdjoint()), has_aux=True))(x)
    truth, _ = jax.jit(jax.grad(lambda x: value(x, kx.ForwardMode()), has_aux=True))(x)
    assert accepted.max() > 16 * slots
    assert_close(ours, truth, 1e-10)

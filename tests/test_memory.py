"""What a reverse pass stores and what it leaves out: DiscreteAdjoint(memory=...), and inputs that stay as they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kuttax as kx
from kuttax.errors import UserError
from kuttax.solvers.rk.tableaus import DOPRI5, RK4

RNG = np.random.default_rng(7)
WEIGHTS = (jnp.asarray(RNG.normal(size=(5, 64)) / 2), jnp.asarray(RNG.normal(size=(64, 5)) / 8))
START = jnp.asarray(RNG.normal(size=(8, 5)))
ADAPTIVE = kx.Adaptive(DOPRI5, 1e-6, 1e-6)


def field(t, y, weights):
    into, out = weights
    return jnp.tanh(y @ into + t) @ out


def end(solver, adjoint, ts=None):
    def value(weights, y0, t1):
        sol = kx.solve(field, y0, 0.0, t1, args=weights, ts=ts, solver=solver, adjoint=adjoint)
        return jnp.mean(sol.y1**2) + (0.0 if ts is None else jnp.mean(sol.ys**2))

    return value


def compiled(value, argnums):
    return jax.jit(jax.grad(value, argnums)).lower(WEIGHTS, START, jnp.asarray(1.0)).compile()


@pytest.mark.parametrize("ts", [None, [0.2, 0.7]], ids=["end", "outputs"])
@pytest.mark.parametrize("memory", ["stages", "products", "steps"])
def test_the_gradient_is_that_of_a_plain_loop(memory, ts):
    """The oracle is written out here, in NumPy's order of the classical formulas, and has no scan to keep anything."""

    def cross(weights, y, t0, t1):
        h = (t1 - t0) / 3
        for n in range(3):
            t = t0 + n * h
            k1 = field(t, y, weights)
            k2 = field(t + h / 2, y + h / 2 * k1, weights)
            k3 = field(t + h / 2, y + h / 2 * k2, weights)
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + field(t + h, y + h * k3, weights))
        return y

    def oracle(weights, y, t1):
        t, saved = jnp.asarray(0.0), []
        for at in [] if ts is None else ts:
            y, t = cross(weights, y, t, jnp.asarray(at)), jnp.asarray(at)
            saved.append(y)
        y = cross(weights, y, t, t1)
        return jnp.mean(y**2) + (jnp.mean(jnp.stack(saved) ** 2) if saved else 0.0)

    value = end(kx.FixedSteps(RK4, 3), kx.DiscreteAdjoint(memory=memory), ts)
    inputs = (WEIGHTS, START, jnp.asarray(1.0))
    found, expected = (jax.grad(f, (0, 1, 2))(*inputs) for f in (value, oracle))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-14)


def test_steps_keep_the_states_alone():
    """Ten times the steps cost as many states more; with stages, the hidden activations of every evaluation too."""

    def planned(steps, memory):
        value = end(kx.FixedSteps(RK4, steps), kx.DiscreteAdjoint(memory=memory))
        return compiled(value, (0, 1)).memory_analysis().temp_size_in_bytes

    more = {memory: planned(1000, memory) - planned(100, memory) for memory in ("steps", "stages")}
    row = (4 * 4 + 4 + 4 + 2) * START.itemsize  # the step's own coefficients, start and size
    assert more["steps"] <= 1.01 * 900 * (START.nbytes + row)
    assert more["stages"] >= 4 * 900 * 8 * 64 * START.itemsize


def test_products_are_kept_where_they_are_small():
    """A narrow layer's product is kept and not computed again; a wide layer's, larger than the state, is not kept."""

    def cost(width, memory):
        weights = (jnp.ones((64, width)), jnp.ones((width, 64)))
        value = end(kx.FixedSteps(RK4, 20), kx.DiscreteAdjoint(memory=memory))
        done = jax.jit(jax.grad(value)).lower(weights, jnp.ones((8, 64)), jnp.asarray(1.0)).compile()
        return done.cost_analysis()["flops"], done.memory_analysis().temp_size_in_bytes

    (fewer, larger), (more, smaller) = cost(8, "products"), cost(8, "steps")
    assert fewer < more
    assert smaller < larger <= smaller + 1.01 * 20 * 4 * 8 * 8 * START.itemsize
    assert cost(64, "products") == cost(64, "steps")


@pytest.mark.slow
def test_a_forgotten_input_costs_nothing():
    """Gradients in y0 alone need no product with the weights: XLA counts the operations of what it compiled."""
    for solver in (ADAPTIVE, kx.Reversible(kx.FixedSteps(RK4, 5))):
        value = end(solver, kx.DiscreteAdjoint())
        both, alone, times = (compiled(value, n).cost_analysis()["flops"] for n in ((0, 1), 1, (0, 1, 2)))
        products = 2 * len(START) * sum(w.size for w in WEIGHTS)  # of one evaluation; a loop's body counts once
        assert both - alone >= products
        assert times > both


def test_unknown_memory():
    with pytest.raises(UserError, match="memory must be 'stages', 'products' or 'steps', got 'all'"):
        kx.DiscreteAdjoint(memory="all")  # pyright: ignore


def test_an_adaptive_solve_keeps_its_steps():
    with pytest.raises(UserError, match="leave memory out"):
        kx.solve(field, START, 0.0, 1.0, args=WEIGHTS, solver=ADAPTIVE, adjoint=kx.DiscreteAdjoint(memory="stages"))


def test_backsolve_refuses_a_learned_scheme_wherever_it_is():
    learned = kx.Reversible(kx.LearnedRK.from_tableau(RK4, 4, order=3))
    assert any(jax.tree.leaves(kx.trainable(learned)))
    assert not kx.trainable(learned).coupling
    with pytest.raises(UserError, match="use DiscreteAdjoint with LearnedRK"):
        kx.solve(field, START, 0.0, 1.0, args=WEIGHTS, solver=learned, adjoint=kx.BacksolveAdjoint())


def test_only_tables_are_exported():
    with pytest.raises(UserError, match=r"only FixedSteps and LearnedRK .* got Reversible"):
        kx.export.to_numpy(kx.Reversible(kx.FixedSteps(RK4, 4)))  # pyright: ignore


def test_text_is_no_tolerance():
    with pytest.raises(UserError, match="rtol must be a number > 0, got 'x'"):
        kx.Adaptive(DOPRI5, "x")

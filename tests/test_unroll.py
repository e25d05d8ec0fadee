"""What a compiled solve contains: the field is traced once, loops are what `unroll` says, and results do not change."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from slowness import mostly_slow

import kuttax as kx
from kuttax.errors import UserError
from kuttax.solvers.rk.adaptive import tape
from kuttax.solvers.rk.rolled import each_slope, looped_stages, pull_back, with_slopes
from kuttax.solvers.rk.stages import stages
from kuttax.solvers.rk.step import step_with_end
from kuttax.solvers.rk.tableaus import BOSH3, DOPRI5, DOPRI8, EULER, HEUN2, RK4, TSIT5

WEIGHTS = jnp.asarray(np.random.default_rng(5).normal(size=(2, 4, 4))) / 2
START = jnp.asarray(np.random.default_rng(6).normal(size=(3, 4)))


def field(t, y, weights):
    into, out = weights
    return jnp.tanh(y @ into + t) @ out


def solved(solver, **options):
    return lambda weights, y0: kx.solve(field, y0, 0.0, 1.0, args=weights, solver=solver, **options)


def gradient(solver, **options):
    return jax.jit(jax.value_and_grad(lambda w, y0: jnp.sum(solved(solver, **options)(w, y0).y1 ** 2), (0, 1)))


def program(function, *arguments):
    return jax.jit(function).lower(*arguments).as_text()


SDE = kx.EulerMaruyama(8)
TRACED = [
    kx.FixedSteps(DOPRI8, 8),
    kx.LearnedRK.from_tableau(RK4, 4, order=2, dtype=jnp.float64),
    kx.Adaptive(DOPRI8),
    kx.Adaptive(BOSH3, control="per_sample"),
    kx.Reversible(kx.FixedSteps(RK4, 8)),
    SDE,
]


@pytest.mark.parametrize("solver", TRACED, ids=str)
def test_the_field_is_traced_once_beside_the_check_of_its_shape(solver):
    calls = []

    def counted(t, y, weights):
        calls.append(t)
        return field(t, y, weights)

    problem = kx.SDE(counted, lambda t, y, args: jnp.ones_like(y)) if solver is SDE else counted
    batch = 0 if getattr(solver, "control", "joint") == "per_sample" else None
    key = jax.random.key(0) if solver is SDE else None

    def cost(weights):
        sol = kx.solve(problem, START, 0.0, 1.0, args=weights, solver=solver, batch_axis=batch, key=key, throw=False)
        return jnp.sum(sol.y1**2)

    jax.jit(jax.grad(cost)).lower(WEIGHTS)
    assert len(calls) <= 2


def test_the_stages_of_an_adaptive_solve_do_not_make_its_program_longer():
    """Forward and backward: as many products for 12 stages as for one pair of 2."""
    counts = {
        tableau.name: program(gradient(kx.Adaptive(tableau)), WEIGHTS, START).count("stablehlo.dot_general")
        for tableau in (HEUN2, BOSH3, DOPRI5, TSIT5, DOPRI8)
    }
    assert len(set(counts.values())) == 1, counts


@pytest.mark.parametrize(
    "tableau", mostly_slow([EULER, HEUN2, BOSH3, RK4, DOPRI5, DOPRI8], BOSH3), ids=lambda one: one.name
)
@pytest.mark.parametrize("end", [False, True], ids=["stages", "end"])
@pytest.mark.parametrize("own", [False, True], ids=["common", "own"])
def test_a_step_in_a_loop_is_the_step_written_out(tableau, end, own, rng):
    """Its slopes; and its pull-back is JAX's, in parameters, start and times. "own": times for each sample."""
    shape = (3,) if own else ()
    t, h = jnp.asarray(rng.uniform(0, 1, shape)), jnp.asarray(rng.uniform(0.1, 0.5, shape))
    draw = lambda: {"y": jnp.asarray(rng.normal(size=(3, 4))), "z": jnp.asarray(rng.normal(size=(3,)))}

    def f(weights):
        def slope(t, y):
            time = t[:, None] if own else t
            dy = jnp.tanh(y["y"] @ weights[0] + time) @ weights[1] * y["z"][:, None]
            return {"y": dy, "z": jnp.sin(t * y["z"])}

        return slope

    def written(weights, t, h, y):
        y1, ks = step_with_end(tableau, f(weights), t, y, h)
        return y1, ks if end else ks[:-1]

    y, dy1 = draw(), draw()
    (y1, ks), back = jax.vjp(written, WEIGHTS, t, h, y)
    dks = [draw() for _ in ks]
    blank = jax.tree.map(lambda x: jnp.full((tableau.stages + 1, *x.shape), jnp.nan), y)
    end_state, looped = with_slopes(tableau, f(WEIGHTS), t, y, h, blank, known=False, end=end)
    close = lambda a, b: jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12), a, b)
    close((end_state, each_slope(looped)[: len(ks)]), (y1, ks))
    given = [*dks, *([] if end else [jax.tree.map(jnp.zeros_like, y)])]
    total = jnp.ones_like(WEIGHTS)
    found, dy, (dt, dh) = pull_back(
        tableau, f, WEIGHTS, t, y, h, looped, y1, dy1, given, total=total, end=end, times=True
    )
    close((found - total, dt, dh, dy), back((dy1, dks)))


def test_looped_stages_are_those_written_out_with_derivatives_in_the_coefficients(rng):
    a = jnp.asarray(np.tril(rng.normal(size=(4, 4)), -1)).at[3, 1].set(0.0)  # a free coefficient that is zero now
    c, h = jnp.asarray([0.0, *rng.uniform(size=3)]), jnp.asarray(0.3)
    sparsity = tuple(tuple(j < i for j in range(4)) for i in range(4))
    f = lambda t, y: field(t, y, WEIGHTS)

    def cost(each):
        start = lambda c: c.at[0].set(0.0)  # the first stage is at the start of the step
        return lambda a, c, y: sum(jnp.sum(jnp.sin(k)) for k in each(f, jnp.asarray(0.1), y, h, a, start(c), sparsity))

    found, expected = (jax.grad(cost(each), (0, 1, 2))(a, c, START) for each in (looped_stages, stages))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)


WAYS = {
    "slopes on the tape": ({}, None),
    "slopes of few steps on the tape": ({"_MOST_SLOPES": 4}, None),
    "slopes computed again": ({"_MOST_SLOPES": 0}, "none"),
    "written out": ({"_MOST_SLOPES": 0}, "stages"),
    "few states, slopes computed again": ({"_MOST_SLOPES": 0, "_FEWEST": 4, "_MOST": 4}, "none"),
    "few states, written out": ({"_MOST_SLOPES": 0, "_FEWEST": 4, "_MOST": 4}, "stages"),
}


@pytest.mark.parametrize("control", mostly_slow(["joint", "per_sample"], "per_sample"))
@pytest.mark.parametrize("asks", mostly_slow(["end", "outputs", "penalty"]))
@pytest.mark.parametrize("way", mostly_slow(WAYS, "slopes on the tape", "slopes computed again", "written out"))
def test_every_way_back_through_an_adaptive_solve_is_jaxs_own_derivative(way, asks, control, monkeypatch):
    """In weights, start, times; JAX differentiates the solve's own operations under ForwardMode."""
    sizes, unroll = WAYS[way]
    for name, value in sizes.items():
        monkeypatch.setattr(tape, name, value)
    solver = kx.Adaptive(DOPRI5, 1e-7, 1e-7, control=control)
    options = {"ts": [0.1, 0.45, 0.9]} if asks == "outputs" else {}
    if asks == "penalty":
        options = {"penalty": kx.penalties.LocalError("biased") + kx.GlobalError(), "key": jax.random.key(0)}

    def value(weights, y0, t0, t1, adjoint):
        sol = kx.solve(
            field, y0, t0, t1, args=weights, solver=solver, batch_axis=0, adjoint=adjoint, max_steps=60,
            unroll=unroll, **options,
        )  # fmt: skip
        more = jnp.sum(sol.ys**2) if asks == "outputs" else sol.penalty if asks == "penalty" else 0.0
        return jnp.sum(sol.y1**2) + more

    at = WEIGHTS * 3, START, jnp.asarray(0.05), jnp.asarray(1.0)
    found, expected = (
        jax.jit(jax.grad(lambda *x, a=a: value(*x, a), (0, 1, 2, 3)))(*at)
        for a in (kx.DiscreteAdjoint(), kx.ForwardMode())
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-9 * np.abs(other).max())


@pytest.mark.parametrize("memory", mostly_slow([None, "steps", "products", "stages"]))
@pytest.mark.parametrize("ts", [None, [0.3, 1.0]], ids=["end", "outputs"])
def test_results_do_not_depend_on_what_is_written_out(memory, ts):
    solver, adjoint = kx.FixedSteps(RK4, 3), kx.DiscreteAdjoint(memory=memory)
    results = [gradient(solver, unroll=unroll, adjoint=adjoint, ts=ts)(WEIGHTS, START) for unroll in _ALL]
    for one in results[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13), one, results[0])


_ALL = ("none", "stages", "all")


@pytest.mark.parametrize("solver", [kx.FixedSteps(RK4, 3), TRACED[1]], ids=str)
def test_loops_are_what_unroll_says(solver):
    """Loops of a forward solve: over steps and stages, over steps, none; and as many products as there are bodies."""
    for unroll, loops, evaluations in (("none", 2, 1), ("stages", 1, 4), ("all", 0, 4 * solver.steps)):
        text = program(solved(solver, unroll=unroll, throw=False), WEIGHTS, START)
        assert len(re.findall(r"stablehlo\.while", text)) == loops
        assert text.count("call @field") == evaluations


def test_the_size_of_the_field_decides():
    """A small field has its stages written out, a large one has not; a short solve that convolves has no loop."""

    def loops(function, y0, steps):
        value = lambda y0: kx.solve(function, y0, 0.0, 1.0, solver=kx.FixedSteps(RK4, steps), throw=False).y1
        return len(re.findall(r"stablehlo\.while", program(value, y0)))

    deep = lambda t, y, args: sum((jnp.sin(n * y) for n in range(1, 400)), start=jnp.zeros_like(y))
    kernel = jnp.ones((2, 2, 3, 3)) / 18
    convolving = lambda t, y, args: jax.lax.conv_general_dilated(y, kernel, (1, 1), "SAME")
    image = jnp.ones((1, 2, 5, 5))
    assert loops(lambda t, y, args: -y, START, 4) == 1
    assert loops(deep, START, 4) == 2
    if jax.default_backend() == "cpu":
        assert loops(convolving, image, 4) == 0
    assert loops(convolving, image, 40) == 1


def test_unknown_unroll():
    with pytest.raises(UserError, match="unroll must be 'none', 'stages', 'all' or None, got True"):
        kx.solve(field, START, 0.0, 1.0, args=WEIGHTS, solver=kx.FixedSteps(RK4, 2), unroll=True)  # pyright: ignore

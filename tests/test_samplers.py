"""Samplers, students of kind free: their formula, what they refuse, and how much closer they come."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kuttax as kx
from kuttax import UserError
from kuttax.distillation import regression
from kuttax.distillation.frozen import Frozen
from kuttax.distillation.objectives import EndPoint, rmse
from kuttax.distillation.path import Path
from kuttax.distillation.precision import double_precision
from kuttax.distillation.starts import Pairs
from kuttax.distillation.teacher import taught
from kuttax.solvers.serialise import from_json, to_json
from kuttax.validity import certify

KEY = jax.random.key(0)


def field(t, y, args):
    return jnp.sin(y) * jnp.cos(t) - 0.3 * y[::-1]


def moved(solver, rng):
    """The same kind of sampler with other parameters."""
    return jax.tree.map(lambda x: x + 0.2 * rng.standard_normal(x.shape), solver)


def by_hand(solver, y, t0, t1):
    """The formula of `Free`, in NumPy."""
    chart, h = solver.chart, t1 - t0
    times, factors, updates = (np.asarray(x)[0] for x in (chart.times, chart.factors, chart.updates))
    slopes, weights, entries = [], np.zeros(solver.stages), iter(updates)
    for i in range(solver.stages):
        x = factors[i] * y + h * sum(w * k for w, k in zip(weights, slopes, strict=False))
        c = abs(times[i]) % 2
        slopes.append(np.asarray(field(t0 + h * min(c, 2 - c), jnp.asarray(x), None)))
        for j in range(max(0, i + 1 - chart.window), i + 1):
            weights[j] += next(entries)
    return factors[-1] * y + h * sum(w * k for w, k in zip(weights, slopes, strict=True))


@pytest.mark.parametrize(("nfe", "window"), [(1, None), (3, 1), (4, 2), (5, None)])
def test_a_sampler_is_its_formula(nfe, window, rng):
    solver, y0 = moved(kx.student("free", nfe, window=window), rng), rng.standard_normal(2)
    expected = by_hand(solver, y0, 0.5, 2.0)
    for unroll in ("none", "stages", "all"):
        sol = kx.solve(field, y0, 0.5, 2.0, solver=solver, unroll=unroll)
        np.testing.assert_allclose(sol.y1, expected, atol=1e-13)
        assert int(sol.stats.nfe) == nfe


def test_its_start_has_the_weights_of_a_classical_scheme():
    table = kx.export.to_numpy(kx.student("free", 4))
    start = kx.tableaus.MIDPOINT.compose(2)
    np.testing.assert_allclose(table.a[0], start.a, atol=1e-15)
    np.testing.assert_allclose(table.b[0], start.b, atol=1e-15)
    np.testing.assert_allclose(table.c[0], [0.125, 0.375, 0.625, 0.875])


def test_it_survives_a_file(rng):
    solver = moved(kx.student("free", 4, window=2), rng)
    again = from_json(json.loads(json.dumps(to_json(solver))))
    assert again.chart.window == 2 and not again.consistent
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(solver), jax.tree.leaves(again), strict=True))


def test_the_exported_program_is_the_same(rng):
    solver, y0, program = moved(kx.student("free", 3), rng), rng.standard_normal(2), {}
    exec(kx.export.to_numpy_source(solver), program)
    found = program["integrate"](lambda t, y: np.asarray(field(t, jnp.asarray(y), None)), y0, 0.0, 1.0)
    np.testing.assert_allclose(found, kx.solve(field, y0, 0.0, 1.0, solver=solver).y1, atol=1e-13)


def flow(t, x, args):
    """The exact flow from noise to a mixture of eight Gaussians on a circle of radius 2."""
    angle, deviation = 2 * np.pi * np.arange(8) / 8, 0.1
    means = jnp.asarray(2 * np.stack([np.cos(angle), np.sin(angle)], 1))
    variance = (1 - t) ** 2 + (t * deviation) ** 2
    away = x[None] - t * means
    weights = jax.nn.softmax(-jnp.sum(away**2, 1) / (2 * variance))
    return weights @ (means + (t * deviation**2 - (1 - t)) / variance * away)


@pytest.mark.slow
def test_it_is_twice_as_close_as_a_scheme_with_an_order():
    starts = jax.random.normal(KEY, (256, 2))
    error = lambda kind: kx.distill(flow, starts, 0.0, 1.0, student=kx.student(kind, 4), key=KEY).error
    assert error("free") < 0.6 * error("anchored")


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda s: certify(lambda solver, batch: None, s, jnp.ones((4, 2))), "a sampler without an order"),
        (lambda s: kx.solve(field, np.ones(2), 0.0, 1.0, solver=s, dense=True), "dense"),
        (lambda s: s.with_steps(2), "one step that was fitted as a whole"),
        (lambda s: kx.to_diffrax(s), "a sampler without an order"),
        (lambda s: kx.Reversible(s), "a sampler, which has no order"),
        (lambda s: kx.export.to_latex(s), "has no Butcher tableau"),
        (lambda s: kx.student("free", 4, order=1), "order=1 asks for one"),
        (lambda s: kx.student("free", 4, stages=2), "leave stages out"),
        (lambda s: kx.student("free", 4, window=0), "window must be a whole number >= 1, got 0"),
        (lambda s: kx.student("free", 4, window=1), "needs more than the last 1 slopes"),
        (lambda s: kx.student("shared", 4, window=2), "window is for a free student"),
    ],
)
def test_what_it_gives_up_is_said(use, said):
    with pytest.raises(UserError, match=said):
        use(kx.student("free", 4))


# Where a fit begins


def begun(field, student, starts, t1=1.0):
    """The regressed student, and the pairs with their paths."""
    with double_precision():
        frozen = Frozen(field, None, 0.0, t1)
        pairs = taught(frozen, starts, kx.Adaptive(kx.tableaus.DOPRI8, 1e-11, 1e-11), cells=regression.CELLS)
        objective = EndPoint(frozen, jnp.asarray(1e6))
        found = regression.regressed(objective, student, pairs)
        bare = replace(pairs, path=None)
        return found, *(float(rmse(objective, one, bare)) for one in (student, found))


@pytest.mark.parametrize("window", [None, 2])
def test_weights_in_the_span_of_the_slopes_are_found_exactly(window, rng):
    """dy/dt = -y/2 stays on the line through 0 and y0, and a factor of y0 is enough; from 1 to exp(-1/2)."""
    student = kx.student("free", 3, window=window, dtype=np.float64)
    found, before, after = begun(lambda t, y, args: -y / 2, student, rng.standard_normal((20, 4)))
    assert before > 1e-4 and after < 1e-10
    end = kx.solve(lambda t, y, args: -y / 2, np.ones(2), 0.0, 1.0, solver=found).y1
    np.testing.assert_allclose(end, np.exp(-0.5), rtol=1e-6)


def test_a_flow_of_bent_paths_begins_closer_and_a_field_that_overflows_begins_where_it_did(rng):
    turn = lambda t, y, args: jnp.stack([y[1] - t * y[0], -y[0] - y[1] * jnp.sin(y[0])])
    student = kx.student("free", 4, dtype=np.float64)
    found, before, after = begun(turn, student, rng.standard_normal((60, 2)), 3.0)
    assert after < before / 2 and found.consistent is False
    overflow = lambda t, y, args: jnp.where(t > 0.5, jnp.exp(1e4 * y), -y)
    frozen = Frozen(overflow, None, 0.0, 1.0)
    x = rng.standard_normal((5, 2)) + 3
    states = np.stack([x] * 3, axis=1)
    same = regression.regressed(EndPoint(frozen, jnp.asarray(1e6)), student, Pairs(x, x, Path(states, 0 * states)))
    assert all(map(np.array_equal, jax.tree.leaves(same), jax.tree.leaves(student)))


def test_paths_are_only_asked_for_where_they_are_used_and_fit_into_memory():
    free, other = kx.student("free", 4), kx.student("anchored", 4)
    assert [regression.cells(free, 1000), regression.cells(other, 1000), regression.cells(free, 10**8)] == [
        regression.CELLS, 0, 0
    ]  # fmt: skip

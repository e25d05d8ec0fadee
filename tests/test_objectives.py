"""Objectives of a distillation against SciPy and closed forms; what is stored, and what a stopped fit goes on from."""

import itertools
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import kuttax as kx
from kuttax.distillation import Frozen, Pairs, least_squares
from kuttax.distillation.fitting import Plan
from kuttax.distillation.keep import Keep
from kuttax.distillation.objectives import EndPoint, Local, Relaxed
from kuttax.distillation.precision import double_precision
from kuttax.distillation.teacher import taught, teacher_of
from kuttax.errors import UserError
from kuttax.io.checkpoints import Checkpoints

KEY = jax.random.key(3)


def wave(t, y, args):
    """A pendulum that is driven; one state of two numbers."""
    return jnp.stack([y[1], jnp.cos(t) / 2 - jnp.sin(y[0])])


def exactly(y0, t0, t1):
    field = lambda t, y: [y[1], np.cos(t) / 2 - np.sin(y[0])]
    return solve_ivp(field, (t0, t1), y0, method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]


def starts(number, seed=0):
    return np.random.default_rng(seed).normal(size=(number, 2))


def test_the_teacher_knows_the_way():
    """Between start and end too, to the digits of its spline; backwards in time."""
    y0 = starts(3)
    pairs = taught(Frozen(wave, None, 2.0, 0.5), y0, teacher_of(wave), cells=32)
    for n, share in ((0, 0.3), (1, 0.77), (2, 1.0)):
        at = jax.tree.map(lambda x, n=n: x[n], pairs.path).at(jnp.asarray(share))
        np.testing.assert_allclose(at, exactly(y0[n], 2.0, 2.0 - 1.5 * share), atol=1e-7)
    np.testing.assert_allclose(pairs.end[1], exactly(y0[1], 2.0, 0.5), atol=1e-7)


def test_the_local_error_is_that_of_each_step_alone():
    y0, solver = starts(2), kx.student("per_step", 4, stages=2, dtype=np.float64)
    frozen = Frozen(wave, None, 0.0, 1.0)
    pairs = taught(frozen, y0, teacher_of(wave), cells=32)
    found = Local(frozen, jnp.asarray(1e6)).errors(solver, pairs)
    for n in range(2):
        middle = exactly(y0[n], 0.0, 0.5)
        step = lambda y, t0, t1: kx.solve(wave, y, t0, t1, solver=kx.FixedSteps(kx.tableaus.MIDPOINT, 1)).y1
        first = step(y0[n], 0.0, 0.5) - middle
        second = step(middle, 0.5, 1.0) - exactly(middle, 0.5, 1.0)
        np.testing.assert_allclose(found[n], np.concatenate([first, second]), atol=1e-7)


def test_a_start_moves_to_where_its_error_vanishes_or_to_the_edge_of_its_ball():
    """dy/dt = -y by one Euler step of 1/2 is y/2; the end exp(-1/2) x is that of the start 2 exp(-1/2) x."""
    frozen = Frozen(lambda t, y, a: -y, None, 0.0, 0.5)
    x = np.array([[1.0], [-2.0], [0.5]])
    pairs = Pairs(x, np.exp(-0.5) * x)
    solver = kx.FixedSteps(kx.tableaus.EULER, 1)
    for radius in (1.0, 0.05):
        moved = Relaxed(frozen, jnp.asarray(1e6), jnp.asarray(radius)).moved(solver, pairs, pairs)
        away = np.clip((2 * np.exp(-0.5) - 1) * x, -radius, radius)
        np.testing.assert_allclose(moved.start - x, away, rtol=1e-6)
        again = Relaxed(frozen, jnp.asarray(1e6), jnp.asarray(radius)).moved(solver, moved, pairs)
        np.testing.assert_allclose(again.start - x, away, rtol=1e-6)  # the ball stays where it was


@pytest.mark.slow
def test_each_objective_comes_closer_than_every_classical_scheme_and_is_another_one():
    y0, fresh = starts(128), starts(32, seed=5)
    truth = np.stack([exactly(y, 0.0, 3.0) for y in fresh])
    ways = [{}, {"objective": "local"}, *({"objective": "relaxed", "radius": radius} for radius in (0.02, 0.2))]
    student, errors = kx.student("per_step", 8), set()
    for way in ways:
        found = kx.distill(wave, y0, 0.0, 3.0, student=student, max_steps=40, key=KEY, **way)
        y1 = kx.solve(wave, fresh, 0.0, 3.0, solver=found.solver, batch_axis=0).y1
        assert np.sqrt(np.mean((y1 - truth) ** 2)) < min(row.rmse for row in found.table) / 1.5, way
        errors.add(found.error)
    assert len(errors) == len(ways)


def test_many_steps_get_a_finer_path_and_a_jacobian_of_their_size():
    student = kx.student("shared", 256)  # 64 steps
    plan = Plan.checked("local", None, student)
    assert (plan.cells(student, 4), plan.cells(kx.student("shared", 8), 4)) == (512, 32)
    frozen = Frozen(wave, None, 0.0, 1.0)
    pairs = taught(frozen, starts(2), teacher_of(wave), cells=512)
    assert plan.errors_of(frozen, pairs).size(student, pairs) == 64 * 2
    assert least_squares.suits(100, 2**18) and not least_squares.suits(100, 2**20)


def test_the_ball_is_as_large_for_a_batch_as_for_all_starts():
    x = np.array([[3.0, 4.0], [0.0, 0.0], [6.0, 8.0], [0.0, 1.0]])
    plan = Plan.checked("relaxed", 0.1, kx.student("shared", 4))
    found = plan.errors_of(Frozen(wave, None, 0.0, 1.0), Pairs(x, x))
    assert float(found.radius) == pytest.approx(0.1 * np.sqrt((25 + 100 + 1) / 4))


class Stop(Exception):
    """A kill."""


@pytest.mark.parametrize(
    ("method", "objective"),
    [
        ("squares", "relaxed"),
        pytest.param("squares", "end", marks=pytest.mark.slow),
        pytest.param("adam", "relaxed", marks=pytest.mark.slow),
    ],
)
def test_a_stopped_fit_goes_on_to_the_same_bits(method, objective, monkeypatch, tmp_path):
    monkeypatch.setattr(Checkpoints, "due", True)
    steps, at = (9, 5) if method == "squares" else (150, 100)
    if method == "adam":
        monkeypatch.setattr(least_squares, "MOST_PARAMETERS", 2)
    student = kx.student("shared", 4)
    fit = lambda **more: kx.distill(
        wave, starts(64), 0.0, 2.0, student=student, objective=objective, key=KEY, max_steps=steps, **more
    )

    def stop(now):
        if (now.phase, now.done) == ("fit", at):
            raise Stop

    whole, rest = fit(), []
    with pytest.raises(Stop):
        fit(saved=tmp_path, report=stop)
    found = fit(saved=tmp_path, report=rest.append)
    assert next(now.done for now in rest if now.phase == "fit") == at
    jax.tree.map(np.testing.assert_array_equal, found.solver, whole.solver)
    assert found.steps == whole.steps
    rest.clear()
    again = fit(saved=tmp_path, report=rest.append)  # a finished fit takes no step
    assert len([now for now in rest if now.phase == "fit"]) == 1
    jax.tree.map(np.testing.assert_array_equal, again.solver, whole.solver)


class Wave(eqx.Module):
    """The field with a parameter, from the middle of the interval on."""

    push: jax.Array

    def __call__(self, t, y, args):
        return wave(t, y, args) + jnp.where(t > 0.9, self.push, 0.0) * y


def test_the_teacher_solves_once(tmp_path):
    """For the same field, starts, interval and teacher; any other is solved anew."""

    def solves(field=wave, seed=0, t1=1.0, teacher=None, args=None):
        frozen = Frozen(field, args, 0.0, t1)
        seen = []
        solver = teacher_of(field) if teacher is None else teacher
        found = taught(frozen, starts(32, seed), solver, keep=Keep(tmp_path), say=lambda done, _: seen.append(done))
        np.testing.assert_allclose(found.end, taught(frozen, starts(32, seed), solver).end, rtol=0, atol=0)
        return seen == [0, 32]

    assert solves()
    assert not solves()
    assert solves(t1=1.5)
    assert solves(seed=1)
    assert solves(teacher=kx.Adaptive(kx.tableaus.DOPRI5, 1e-8, 1e-8, control="joint"))
    assert solves(args=np.ones(2))
    assert solves(field=Wave(jnp.asarray(1.0)))
    assert solves(field=Wave(jnp.asarray(2.0)))
    assert not solves(field=Wave(jnp.asarray(1.0)))


@pytest.mark.slow
def test_a_function_that_reads_something_else_is_another_field(tmp_path):
    """In this process too, where compiled programs are kept."""
    rate = 1.0

    def field(t, y, args):
        return -jnp.where(t > 0.8, rate, 1.0) * y

    ends = []
    for rate in (1.0, 2.0, 1.0):
        found = taught(Frozen(field, None, 0.0, 1.0), starts(8), teacher_of(field), cells=8, keep=Keep(tmp_path))
        ends.append(found.end)
        np.testing.assert_allclose(found.path.slopes[:, -1], -rate * found.end, rtol=1e-12)
        np.testing.assert_allclose(found.end, starts(8) * np.exp(-0.8 - 0.2 * rate), rtol=1e-5)
    np.testing.assert_array_equal(ends[0], ends[2])


def test_a_damaged_store_is_named_and_computed_again(tmp_path):
    frozen = Frozen(wave, None, 0.0, 1.0)
    whole = taught(frozen, starts(4), teacher_of(wave), keep=Keep(tmp_path))
    (file,) = tmp_path.glob("teacher-*/*.ckpt")
    file.write_bytes(file.read_bytes()[:-7] + b"garbage")
    with pytest.warns(UserWarning, match="is damaged .*: it is computed again"):
        again = taught(frozen, starts(4), teacher_of(wave), keep=Keep(str(tmp_path)))
    np.testing.assert_array_equal(again.end, whole.end)


def test_progress_is_one_line_with_time_and_memory():
    seen = []
    options = {"student": kx.student("shared", 2), "max_steps": 3, "key": KEY}
    found = kx.distill(wave, starts(32), 0.0, 1.0, report=seen.append, **options)
    lines = [str(now) for now in seen]
    assert re.match(r"teacher: 0 of 32 starts, \d+ s(, \d+\.\d GiB)?$", lines[0])
    assert re.match(r"fit: [123] of 3 steps, error \S+ on the held-out starts, \d+ s(, \d+\.\d GiB)?$", lines[-1])
    assert seen[-1].error == pytest.approx(found.error, rel=0.02)  # bounded, and in float64
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(seen[2:]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "best"}, "unknown objective 'best'; known: end, local, relaxed"),
        ({"objective": "local", "student": kx.student("anchored", 4)}, "this student has one step"),
        ({"objective": "local", "student": kx.student("free", 4)}, "this student has one step"),
        ({"saved": __file__}, "is no folder"),
        ({"radius": 0.1}, "radius is for the objective 'relaxed', and this one is 'end'"),
        ({"objective": "relaxed", "radius": 0.0}, "radius must be a positive number, got 0.0"),
        ({"objective": "relaxed", "radius": True}, "radius must be a positive number, got True"),
    ],
)
def test_bad_objectives_are_one_line(options, message):
    with pytest.raises(UserError, match=message):
        kx.distill(wave, starts(8), 0.0, 1.0, **{"student": kx.student("shared", 4), "key": KEY, **options})


def test_large_errors_are_bounded_and_small_ones_are_not():
    frozen, most = Frozen(lambda t, y, a: y**3, None, 0.0, 1.0), jnp.asarray(2.0)
    pairs = Pairs(np.array([[1e-3], [1e200], [5.0]]), np.array([[0.0], [0.0], [0.0]]))
    with double_precision():
        error = EndPoint(frozen, most).errors(kx.FixedSteps(kx.tableaus.EULER, 1), pairs)[:, 0]
    np.testing.assert_allclose(error, [1e-3 + 1e-9, 2.0, 130 / np.sqrt(1 + 130**2 / 4)], rtol=1e-6)

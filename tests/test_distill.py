"""Distilled solvers: against closed forms, on starts they never saw, in both precisions; bad input is one line."""

import json
import math
import re
import warnings
from collections import Counter
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from slowness import mostly_slow

import kuttax as kx
from kuttax.commands import main as cli
from kuttax.commands.distillation_log import DistillationLog
from kuttax.distillation import Frozen, Pairs, gradient, least_squares, row
from kuttax.distillation.beginning import best_classical
from kuttax.distillation.best import BestStudent
from kuttax.distillation.least_squares import _Errors
from kuttax.distillation.objectives import EndPoint
from kuttax.distillation.precision import cast, double_precision
from kuttax.distillation.starts import split
from kuttax.distillation.teacher import taught, teacher_of
from kuttax.errors import UserError
from kuttax.io.checkpoints import Checkpoints
from kuttax.tasks import build
from kuttax.training.checkpoint import load_run, save_run

KEY = jax.random.key(0)


def pendulum(t, y, args):
    """A damped pendulum, driven; one state of two numbers."""
    return jnp.stack([y[1], jnp.cos(t) / 2 - jnp.sin(y[0]) - y[1] / 4])


def starts(number, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=(number, 2)).astype(dtype)


def ends_by_scipy(y0, t0, t1):
    def field(t, y):
        angle, speed = y.reshape(2, -1)
        return np.concatenate([speed, np.cos(t) / 2 - np.sin(angle) - speed / 4])

    flat = solve_ivp(field, (t0, t1), y0.T.ravel(), method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    return flat.reshape(2, -1).T


@pytest.fixture(scope="module")
def fitted():
    """A student of four evaluations for the pendulum from 0 to 2."""
    return kx.distill(pendulum, starts(256), 0.0, 2.0, student=kx.student("anchored", 4), key=KEY)


@pytest.mark.parametrize(("rate", "name"), [(1.0, "RK4"), (4.0, "Euler x 4")])
def test_the_best_scheme_of_a_students_form_is_found(rate, name):
    """dy/dt = -r y in one step of 4 stages: of order 4, 1 - r + ... + r^4 / 24; four Euler steps, (1 - r / 4)^4."""
    y0 = np.linspace(0.5, 1.5, 20)[:, None]
    frozen = Frozen(lambda t, y, args: -rate * y, None, 0.0, 1.0)
    factors = {"RK4": sum((-rate) ** n / math.factorial(n) for n in range(5)), "Euler x 4": (1 - rate / 4) ** 4}
    with double_precision():
        student = cast(kx.student("anchored", 4).for_interval(0.0, 1.0), np.float64)
        error, best = best_classical(EndPoint(frozen, jnp.asarray(1e6)), student, Pairs(y0, y0 * math.exp(-rate)))
        factor = kx.solve(frozen.field, np.ones(1), 0.0, 1.0, solver=best).y1.item()
    assert factor == pytest.approx(factors[name]) and best.trained_for == (0.0, 1.0) and best.order == 1
    assert error == pytest.approx(abs(factor - math.exp(-rate)) * np.sqrt(np.mean(y0**2)), rel=1e-5)


def test_a_fit_that_ends_behind_a_classical_scheme_of_its_form_begins_there_again():
    """Van der Pol at 8 evaluations: from RK4, twice, the fit stays behind 8 steps of Euler's method."""

    def field(t, y, args):
        return jnp.stack([y[1], 5 * (1 - y[0] ** 2) * y[1] - y[0]])

    y0 = np.random.default_rng(0).uniform(-2, 2, (200, 2))
    found = kx.distill(field, y0, 0.0, 1.0, student=kx.student("per_step", 8), key=KEY, max_steps=20)
    euler = next(row for row in found.table if row.name.startswith("FixedSteps(Euler"))
    assert found.solver.name == "Euler x 4" and found.own.unreached <= euler.unreached
    assert found.error < euler.rmse


def test_a_student_that_no_longer_is_the_scheme_of_its_name_begins_again_too():
    """Ralston's method of four stages with its coefficients moved away, and one step of the fit."""
    start = kx.LearnedRK.from_tableau(kx.tableaus.RALSTON4, 1, order=1)
    moved = jax.tree.map(lambda x: x + 0.3 * jax.random.normal(KEY, x.shape), start)
    y0 = np.linspace(0.5, 1.5, 40)[:, None]
    found = kx.distill(lambda t, y, a: -(y**2), y0, 0.0, 1.0, student=moved, key=KEY, max_steps=1)
    assert found.error <= found.table[0].rmse


def test_a_scheme_that_reaches_few_starts_is_not_the_best_of_the_table():
    """dy/dt = -y^3: from 3, one step of order 5 ends at 1e9 and more, and is most accurate where it does not."""
    y0 = (
        np.concatenate([np.full((60, 1), 3.0), np.linspace(0.1, 0.5, 40)[:, None]])
        * np.linspace(0.9, 1.1, 100)[:, None]
    )
    table = kx.distill(
        lambda t, y, a: -(y**3), y0, 0.0, 1.0, student=kx.student("shared", 6), key=KEY, max_steps=1
    ).table
    assert min(table, key=lambda row: row.rmse).unreached > 0
    assert table[0].unreached == min(row.unreached for row in table)


def test_beats_every_classical_solver_on_starts_it_never_saw(fitted):
    fresh = starts(64, seed=9)
    truth = ends_by_scipy(fresh, 0.0, 2.0)

    def error(solver):
        y1 = kx.solve(pendulum, fresh, 0.0, 2.0, solver=solver, batch_axis=0).y1
        return np.sqrt(np.mean((y1 - truth) ** 2))

    classical = [kx.FixedSteps(tableau, 4 // tableau.stages) for tableau in (kx.tableaus.RK4, kx.tableaus.HEUN2)]
    assert error(fitted.solver) < min(map(error, classical)) / 2
    assert error(fitted.solver) == pytest.approx(fitted.error, rel=0.7)  # the same distribution, other starts


def test_the_table_is_what_the_classical_solvers_do(fitted):
    """Each row against the solver itself and SciPy, on the starts that were held out."""
    _, held = split(256, 0.2, jax.random.split(KEY)[0])
    y0 = starts(256)[held]
    truth = ends_by_scipy(y0, 0.0, 2.0)
    rows = {r.name: r for r in fitted.table}
    assert len(rows) == sum(tableau.stages <= 4 for tableau in kx.tableaus.ALL.values())
    for name, steps in (("Euler", 4), ("Heun3", 1)):
        solver = kx.FixedSteps(kx.tableaus.ALL[name.lower()], steps)
        missed = np.asarray(kx.solve(pendulum, y0, 0.0, 2.0, solver=solver, batch_axis=0).y1) - truth
        found = rows[str(solver)]
        assert found.nfe == solver.nfe
        assert found.rmse == pytest.approx(np.sqrt(np.mean(missed**2)), rel=1e-5)
        assert found.median == pytest.approx(np.median(np.linalg.norm(missed, axis=1)), rel=1e-5)
    assert [r.rmse for r in fitted.table] == sorted(r.rmse for r in fitted.table)
    assert len(str(fitted).splitlines()) == 2 + len(rows)


def test_it_carries_its_interval_and_warns_on_another(fitted):
    assert fitted.solver.trained_for == (0.0, 2.0)
    with pytest.warns(kx.OffGridWarning, match="trained for 1 step from t=0 to t=2"):
        kx.solve(pendulum, starts(1)[0], 0.0, 1.5, solver=fitted.solver)


@pytest.mark.slow
def test_a_linear_field_is_learned_exactly_by_any_kind():
    """One step of s stages has s free coefficients of its stability polynomial, enough for exp(A h) of a rotation."""
    turn = jnp.array([[0.0, 1.0], [-1.0, 0.0]])
    rotation = np.array([[math.cos(2), math.sin(2)], [-math.sin(2), math.cos(2)]])
    y0 = starts(32)
    d = kx.distill(lambda t, y, a: turn @ y, y0, 0.0, 2.0, student=kx.student("anchored", 3), key=KEY)
    y1 = kx.solve(lambda t, y, a: turn @ y, y0, 0.0, 2.0, solver=d.solver, batch_axis=0).y1
    np.testing.assert_allclose(y1, y0 @ rotation.T, atol=1e-7)
    assert d.error < 1e-7


def test_teacher_is_exact_for_pytrees_backwards_in_time_with_args():
    y0 = {"a": starts(5), "b": starts(5, seed=1)[:, 0]}

    def field(t, y, rate):
        return {"a": rate * y["a"], "b": -t * y["b"]}

    y1 = taught(Frozen(field, np.float64(0.7), 1.0, -0.5), y0, teacher_of(field)).end
    np.testing.assert_allclose(y1["a"], y0["a"] * np.exp(-1.5 * 0.7), rtol=1e-6)
    np.testing.assert_allclose(y1["b"], y0["b"] * np.exp(-(0.25 - 1) / 2), rtol=1e-6)


@pytest.mark.slow
def test_float32_programs_get_a_float64_teacher():
    """With JAX's flag off, what a field closes over keeps its float32 values and the ends are float64."""
    with jax.enable_x64(False):
        rate = jnp.asarray([0.1, 0.7], jnp.float32)
        y0 = starts(24, dtype=np.float32)
        field = lambda t, y, a: rate * y
        y1 = taught(Frozen(field, None, 0.0, 1.0), y0, teacher_of(field)).end
        assert y1.dtype == np.float64
        np.testing.assert_allclose(y1, y0 * np.exp(np.asarray(rate, np.float64)), rtol=1e-7)
        d = kx.distill(lambda t, y, a: rate * y, y0, 0.0, 1.0, student=kx.student("shared", 2), key=KEY)
        assert d.solver.dtype == jnp.float32
        assert d.error < min(r.rmse for r in d.table) / 10  # one coefficient of two evaluations, for two rates
        assert jnp.ones(2).dtype == jnp.float32
    assert jax.config.jax_numpy_dtype_promotion == "strict"


@pytest.mark.slow
def test_parameters_that_the_error_does_not_see_stay_where_rounding_does_no_harm():
    """Of order 3, the four weights of four stages follow from A: sum b c^k = 1 / (k + 1), sum b A c = 1 / 6."""
    student = kx.LearnedRK.from_tableau(kx.tableaus.RK4, 1, order=3, dtype=np.float32)
    fitted = kx.distill(lorenz, 8 * starts3(128) + [0, 0, 25], 0.0, 0.1, student=student, key=KEY)
    table = fitted.solver.table(np.float32)
    a, b = np.asarray(table.a[0], np.float64), np.asarray(table.b[0], np.float64)
    c = a.sum(axis=1)
    conditions = np.stack([np.ones(4), c, c**2, a @ c])
    exact = np.linalg.solve(conditions, [1, 1 / 2, 1 / 3, 1 / 6])
    np.testing.assert_allclose(b, exact, atol=1e-4)
    np.testing.assert_allclose(fitted.solver.chart.weights[0], exact, atol=1e-4)


def lorenz(t, y, args):
    return jnp.stack([10 * (y[1] - y[0]), y[0] * (28 - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]])


def starts3(number):
    return np.random.default_rng(0).normal(size=(number, 3)).astype(np.float32)


@pytest.mark.slow
def test_adam_where_least_squares_would_be_too_large(monkeypatch):
    """Two optimisers that share nothing but the error come close to the same one: Adam from above."""

    def fit(**options):
        return kx.distill(pendulum, starts(64), 0.0, 1.5, student=kx.student("shared", 4), key=KEY, **options)

    least = fit().error
    monkeypatch.setattr(least_squares, "MOST_PARAMETERS", 2)
    monkeypatch.setattr(gradient, "LOOK_EVERY", 25)
    found = fit(max_steps=200)
    assert 0.99 * least < found.error < 1.2 * least
    assert found.error < min(r.rmse for r in found.table) / 3
    assert fit(max_steps=200).error == found.error


@pytest.mark.parametrize("reverse", mostly_slow([True, False], False))
def test_the_jacobian_is_that_of_finite_differences(reverse):
    y0 = starts(3)
    pairs = Pairs(y0, ends_by_scipy(y0, 0.0, 1.0))
    objective = EndPoint(Frozen(pendulum, None, 0.0, 1.0), jnp.asarray(1e6))
    errors = _Errors(objective, pairs, jnp.asarray(2.0), reverse)
    student = kx.LearnedRK.from_tableau(kx.tableaus.RK4, 1, order=2)
    leaves, structure = jax.tree.flatten(student)
    along = jax.tree.unflatten(structure, [jnp.sin(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape) for x in leaves])
    moved = lambda e: jax.tree.map(lambda x, v: x + e * v, student, along)
    value, slope = jax.jvp(errors, (student,), (along,))
    np.testing.assert_allclose(slope, (errors(moved(1e-5)) - errors(moved(-1e-5))) / 2e-5, atol=1e-8)
    np.testing.assert_allclose(value, errors(student), atol=1e-15)
    missed = kx.solve(pendulum, y0, 0.0, 1.0, solver=student, batch_axis=0).y1 - pairs.end
    np.testing.assert_allclose(value, missed.ravel() / (2 * np.sqrt(6)), atol=1e-14)


def test_few_programs_are_compiled(caplog):
    """One for all classical schemes with the same stages and steps, and one for all steps of the fit."""
    with jax.log_compiles(), caplog.at_level("WARNING"):
        kx.distill(
            lambda t, y, args: -(y**3), starts(16), 0.0, 1.0, student=kx.student("shared", 6), key=jax.random.key(0)
        )
    compiled = [re.search(r"^Compiling (?:jit\()?(\w+)", record.getMessage()) for record in caplog.records]
    counts = Counter(found[1] for found in compiled if found)
    kinds = {tableau.stages for tableau in kx.tableaus.ALL.values() if tableau.stages <= 6}
    assert counts["ends"] == len(kinds) + 1 < len(kx.tableaus.ALL) and counts["_step"] == 1


def test_early_stopping_keeps_the_best_and_ignores_nan():
    best = BestStudent(patience=3)
    for number, error in enumerate([3.0, 2.0, math.nan, 2.5, 1.9999]):
        assert not best.exhausted
        best.look(error, number)
    assert (best.error, best.student, best.looks) == (1.9999, 4, 5)
    assert best.exhausted  # 1.9999 is best, but not worth waiting on


def test_the_seed_decides_who_is_held_out_and_nobody_is_lost():
    rows, held = split(50, 0.3, KEY)
    assert len(held) == 15
    assert sorted([*rows, *held]) == list(range(50))
    assert not np.array_equal(held, split(50, 0.3, jax.random.key(1))[1])


def test_a_solver_that_leaves_the_numbers_is_last_and_named():
    """y' = y^2 has its end, but Euler's large steps from far out overflow: NaN, never a number."""
    pairs = Pairs(np.array([[-1e200]]), np.array([[-1.0]]))
    frozen = Frozen(lambda t, y, a: y**3, None, 0.0, 1.0)
    assert math.isnan(row(frozen, kx.FixedSteps(kx.tableaus.EULER, 2), pairs).rmse)


@pytest.mark.parametrize(
    ("kind", "nfe", "options", "expected"),
    [
        ("per_step", 8, {}, "order 1, 4 stages x 2 steps, own coefficients a step, learned steps"),
        ("per_step", 6, {"order": 2}, "order 2, 3 stages x 2 steps, own coefficients a step, learned steps"),
        ("shared", 8, {"stages": 2, "order": 2}, "order 2, 2 stages x 4 steps, shared coefficients, learned steps"),
        ("anchored", 5, {}, "order 1, 5 stages x 1 step"),
    ],
)
def test_students(kind, nfe, options, expected):
    student = kx.student(kind, nfe, **options)
    assert student.nfe == nfe
    assert expected in str(student)


DISTILL = {
    "one start": (lambda: {"y0": starts(1)}, "at least 2 starts"),
    "no axis of starts": (lambda: {"y0": np.float64(1.0)}, "leading axis of starts"),
    "unlike axes": (lambda: {"y0": (starts(3), starts(4))}, "common leading axis of starts"),
    "integers": (lambda: {"y0": np.ones((4, 2), int)}, "floating-point arrays, got int64"),
    "NaN starts": (lambda: {"y0": starts(4) * np.nan}, "NaN or infinite"),
    "holdout 0": (lambda: {"holdout": 0}, "fraction between 0 and 1, got 0"),
    "holdout 1": (lambda: {"holdout": 1.0}, "fraction between 0 and 1, got 1.0"),
    "holdout of nothing": (lambda: {"holdout": 0.01}, "holdout=0.01 of 8 starts holds out 0"),
    "no interval": (lambda: {"t1": 0.0}, "two different finite numbers, got 0.0 and 0.0"),
    "max_steps": (lambda: {"max_steps": 0}, "max_steps must be a whole number >= 1, got 0"),
    "a classical student": (
        lambda: {"student": kx.FixedSteps(kx.tableaus.RK4, 2)},
        "must be a LearnedRK, got FixedSteps: kx.student('per_step', nfe=8) makes one",
    ),
    "a number as student": (lambda: {"student": 4}, "must be a LearnedRK, got int"),
    "a number as key": (lambda: {"key": 0}, "key must be one JAX random key such as jax.random.key(0), got int"),
    "wrong shape": (
        lambda: {"field": lambda t, y, a: y[:1]},
        "return a slope like the state, float64[2], got float64[1]",
    ),
    "NaN field": (lambda: {"field": lambda t, y, a: y * jnp.nan}, "the teacher finds no solution: 8 of 8 samples"),
    "blow-up": (lambda: {"field": lambda t, y, a: 9 * y**2, "y0": np.ones((8, 2))}, "the teacher finds no solution"),
    "own dtype": (
        lambda: {"field": lambda t, y, a: y.astype(jnp.float32), "y0": starts(8, dtype=np.float32)},
        "returns float32 for a float64 state",
    ),
    "diverging student": (
        lambda: {"field": lambda t, y, a: -jnp.sinh(y), "y0": 8 + starts(8) ** 2 / 10},
        "the student diverges",
    ),
}


@pytest.mark.parametrize("case", DISTILL)
def test_bad_input_is_one_line(case):
    changes, message = DISTILL[case]
    options = {"field": pendulum, "y0": starts(8), "t0": 0.0, "t1": 1.0, "student": kx.student("shared", 2), "key": KEY}
    with pytest.raises(UserError) as refused:
        kx.distill(**{**options, **changes()})
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("method", mostly_slow(["squares", "adam"]))
def test_starts_that_no_step_can_cross_do_not_decide_the_fit(method, rng, monkeypatch):
    """dy/dt = -y^3: from 40, every explicit scheme of this cost ends at 1e20 and more, or overflows."""
    options = {}
    if method == "adam":
        monkeypatch.setattr(least_squares, "MOST_PARAMETERS", 2)
        options = {"max_steps": 200}
    y0 = rng.uniform(-1.5, 1.5, size=(200, 1))
    y0[::25] = 40 + rng.uniform(size=(8, 1))
    student = kx.student("shared", 4)
    found = kx.distill(lambda t, y, a: -(y**3), y0, 0.0, 1.0, student=student, key=KEY, **options)
    assert set(np.arange(0, 200, 25)) == set(found.unreached)
    near = y0[np.abs(y0) < 2][:, None]
    y1 = kx.solve(lambda t, y, a: -(y**3), near, 0.0, 1.0, solver=found.solver, batch_axis=0).y1
    assert np.sqrt(np.mean((y1 - near / np.sqrt(1 + 2 * near**2)) ** 2)) < 0.02
    assert "8 of all starts are out of reach" in str(found) and "unreached" in str(found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tall", 8), "unknown kind of student 'tall'; known: per_step, shared, anchored, free"),
        (("shared", 0), "nfe must be a whole number >= 1, got 0"),
        (("shared", 9, 4), "nfe 9 is no multiple of 4 stages"),
        (("shared", 10, 0), "stages must be a whole number >= 1, got 0"),
        (("anchored", 8, 4), "leave stages out"),
    ],
)
def test_students_that_cannot_be(arguments, message):
    kind, nfe, *stages = arguments
    with pytest.raises(UserError, match=message):
        kx.student(kind, nfe, stages=stages[0] if stages else None)


def test_double_precision_leaves_no_trace():
    with jax.enable_x64(False), warnings.catch_warnings():
        warnings.simplefilter("error")
        with double_precision():
            assert jnp.ones(1).dtype == jnp.float64
        assert jnp.ones(1).dtype == jnp.float32


# The page and the command.

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_page_runs(capsys):
    page = (ROOT / "docs" / "distillation.md").read_text()
    names = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "distillation.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "own coefficients a step, learned steps, for t=0 to 3" in printed
    assert "it may be worse there than a classical one" in printed
    assert names["distilled"].error < min(row.rmse for row in names["distilled"].table)
    for kind, count in re.findall(r'\| `"(\w+)"` \|.*\| (\d+) \|', page):
        assert sum(leaf.size for leaf in jax.tree.leaves(kx.student(kind, 8))) == int(count)


def distill_command(*arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(["distill", *map(str, arguments)])
    return stop.value.code or 0


def test_the_command_distills_a_run(tmp_path, capsys, monkeypatch):
    """The weights stay; the run that comes out is evaluated with its new solver."""
    task = build("digits", width=4)
    model = task.init(jax.random.key(0))
    about = {"task": {"name": "digits", "options": {"width": 4}}, "record": {"batch_size": 72}}
    save_run(tmp_path / "run", model, kx.FixedSteps(kx.tableaus.EULER, 1), about)
    assert distill_command(tmp_path / "run", "--nfe", 2, "--starts", 32) == 0
    out = tmp_path / "run" / "distilled-nfe2"
    assert f"kuttax evaluate {out}" in capsys.readouterr().out
    _, same, solver = load_run(out)
    assert bool(eqx.tree_equal(same, model))
    assert (solver.nfe, solver.trained_for) == (2, (0.0, 1.0))
    record = json.loads((out / "record.json").read_text())
    assert record["error"] < min(row["rmse"] for row in record["classical"])
    assert record["test"]["distilled"]["nfe"] == 2
    assert "import torch" in (out / "solver_torch.py").read_text()
    assert distill_command(tmp_path / "run", "--nfe", 2) == 2
    assert "is not empty: give --overwrite" in capsys.readouterr().err
    assert distill_command(tmp_path / "run", "--nfe", 4, "--objective", "local") == 2  # one step
    assert "this student has one step" in capsys.readouterr().err
    assert not (tmp_path / "run" / "distilled-nfe4").exists()

    def kill(self, now):
        if (now.phase, now.done) == ("fit", 2):
            raise KeyboardInterrupt
        seen.append((now.phase, now.done))

    seen = []
    command = tmp_path / "run", "--nfe", 2, "--starts", 32, "--out", tmp_path / "again"
    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "due", True)
        patched.setattr(DistillationLog, "__call__", kill)
        assert distill_command(*command) == 130
    with monkeypatch.context() as patched:
        patched.setattr(DistillationLog, "__call__", lambda self, now: seen.append((now.phase, now.done)))
        assert distill_command(*command, "--resume") == 0
    assert seen[:4] == [("teacher", 0), ("teacher", 32), ("fit", 0), ("fit", 1)]
    assert seen[4:6] == [("teacher", 32), ("fit", 2)]
    assert not (tmp_path / "again" / "checkpoints").exists()
    whole = load_run(out)[2]
    jax.tree.map(np.testing.assert_array_equal, load_run(tmp_path / "again")[2], whole)
    (tmp_path / "again" / "checkpoints").mkdir()  # a kill came after the record
    assert distill_command(*command, "--resume") == 0
    assert not (tmp_path / "again" / "checkpoints").exists()
    assert "holds a finished run: nothing is left to do" in capsys.readouterr().out
    assert distill_command(*command, "--starts", 16, "--resume") == 2
    assert "--starts was 32, and is 16" in capsys.readouterr().err
    assert (
        distill_command(tmp_path / "run", "--nfe", 2, "--starts", 2, "--holdout", 0.1, "--out", tmp_path / "few") == 2
    )
    assert "holds out 0" in capsys.readouterr().err and not (tmp_path / "few").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "distill needs a RUN first"),
        (["nowhere", "--radius", "0.1"], "--radius changes nothing with --objective end: leave it out"),
        (["nowhere", "--objective", "relaxed", "--radius", "0"], "--radius must be > 0, got 0"),
        (["nowhere"], "nowhere holds no run.json"),
        (["nowhere", "--nfe", "9", "--stages", "4"], "nfe 9 is no multiple of 4 stages"),
        (["nowhere", "--student", "tall"], "--student must be one of"),
        (["nowhere", "--starts", "1"], "--starts must be >= 2, got 1"),
        (["nowhere", "--seed", "-1"], "--seed must lie in [0, 4294967295], got -1"),
    ],
)
def test_the_command_refuses_in_one_line(arguments, message, capsys):
    assert distill_command(*arguments) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1

"""Starts that each have args of their own: `args_axes` of `kx.distill` and of `kx.solve`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

import kuttax as kx
from kuttax.distillation import least_squares
from kuttax.distillation.frozen import Frozen
from kuttax.distillation.keep import Keep
from kuttax.distillation.regression import CELLS
from kuttax.distillation.teacher import taught, teacher_of

RK4 = kx.FixedSteps(kx.tableaus.RK4, 1)


def growth(t, y, args):
    """A logistic equation; the rate is the start's own, the capacity is common."""
    del t
    return args["rate"] * y * (1 - y / args["capacity"])


def exact(y0, rate, capacity, time):
    """Its solution in closed form."""
    return capacity * expit(np.log(y0 / (capacity - y0)) + rate * time)


def drawn(seed, number=96):
    """Starts and args, the rates along the second axis."""
    rng = np.random.default_rng(seed)
    y0 = rng.uniform(0.2, 1.8, (number, 2)).astype(np.float32)
    return y0, {"rate": rng.uniform(0.5, 3.0, (1, number)).astype(np.float32), "capacity": 2.0}


AXES = {"rate": 1, "capacity": None}


def distilled(student, *, axes=AXES, args=None, **options):
    y0, own = drawn(0)
    args = own if args is None else args
    key = jax.random.key(0)
    return kx.distill(growth, y0, 0.0, 1.5, student=student, args=args, args_axes=axes, key=key, **options)


@pytest.mark.parametrize(
    ("kind", "nfe", "objective"),
    [("per_step", 8, "end"), ("shared", 8, "local"), ("free", 3, "end"), ("free", 3, "relaxed")],
)
def test_a_student_fits_starts_of_which_each_has_its_own_args(kind, nfe, objective):
    """On fresh starts with fresh rates it is closer to the closed form than the best classical scheme of its cost."""
    found = distilled(kx.student(kind, nfe), objective=objective, max_steps=30)
    y0, args = drawn(1, 400)
    truth = exact(np.float64(y0), np.float64(args["rate"].T), 2.0, 1.5)

    def rmse(solver):
        axes = {"batch_axis": 0, "args": args, "args_axes": AXES}
        return np.sqrt(np.mean((np.asarray(kx.solve(growth, y0, 0.0, 1.5, solver=solver, **axes).y1) - truth) ** 2))

    classical = [
        kx.FixedSteps(tableau, nfe // tableau.stages) for tableau in kx.tableaus.ALL.values() if tableau.stages <= nfe
    ]
    assert rmse(found.solver) < 0.5 * min(map(rmse, classical))
    assert found.error == pytest.approx(rmse(found.solver), rel=0.5), "the held-out error is one of such starts"
    assert found.solver.logits is None or abs(np.sum(found.solver.logits)) < 1e-5, "only their differences count"


def test_the_teacher_solves_each_start_with_its_own_args():
    y0, args = drawn(2)
    frozen = Frozen(growth, {"rate": None, "capacity": 2.0}, 0.0, 1.5)
    pairs = taught(frozen, y0, teacher_of(growth), own={"rate": args["rate"][0], "capacity": None}, cells=CELLS)
    rates = np.float64(args["rate"].T)
    np.testing.assert_allclose(pairs.end, exact(np.float64(y0), rates, 2.0, 1.5), rtol=1e-7)
    halfway = jax.vmap(lambda path: path.at(jnp.float32(0.5)))(pairs.path)
    np.testing.assert_allclose(halfway, exact(np.float64(y0), rates, 2.0, 0.75), rtol=1e-5)


def test_stored_solutions_belong_to_their_args(tmp_path):
    """Other rates are solved anew, and the same ones are not."""
    y0, args = drawn(3)
    said = []
    for rates in (args["rate"][0], args["rate"][0], args["rate"][0][::-1].copy()):
        frozen, own = Frozen(growth, {"rate": None, "capacity": 2.0}, 0.0, 1.5), {"rate": rates, "capacity": None}
        said.append([])
        say = lambda done, _: said[-1].append(done)
        pairs = taught(frozen, y0, teacher_of(growth), own=own, keep=Keep(tmp_path), say=say)
        np.testing.assert_allclose(pairs.end, exact(np.float64(y0), np.float64(rates[:, None]), 2.0, 1.5), rtol=1e-7)
    assert [first for first, *_ in said] == [0, 96, 0]


def test_shared_args_that_every_start_repeats_give_the_same_student():
    """One value for all, or the same value for each."""
    y0, _ = drawn(0)
    student, many = kx.student("shared", 4), {"rate": np.full((1, len(y0)), 1.5, np.float32), "capacity": 2.0}
    each = distilled(student, args=many, max_steps=10)
    all_ = distilled(student, args={"rate": np.float32(1.5), "capacity": 2.0}, axes=None, max_steps=10)
    for a, b in zip(jax.tree.leaves(each.solver), jax.tree.leaves(all_.solver), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_adam_takes_the_args_of_the_starts_in_its_batch(monkeypatch):
    """With every student too large for least squares."""
    monkeypatch.setattr(least_squares, "MOST_PARAMETERS", 0)
    found = distilled(kx.student("shared", 4), max_steps=300)
    assert found.error < 0.5 * found.table[0].rmse


@pytest.mark.parametrize(
    ("args", "axes", "said"),
    [
        (np.ones(3), 0, "axis 0 of args must count the 4 samples, got shape (3,)"),
        (np.ones(4), 1, "axis 1 of args must count the 4 samples, got shape (4,)"),
        ({"k": np.ones(3), "s": 1.0}, {"k": 0, "s": None}, "axis 0 of args['k'] must count"),
        ((np.ones(4), {"k": np.ones((2, 3))}), (0, {"k": 1}), "axis 1 of args[1]['k'] must count"),
        ((np.ones(4), 2.0), 0, "args_axes gives args[1] a sample axis, but it is no array, got float: say None for it"),
        (np.ones(4), True, "args_axes must be an int, or, if args is a tuple or a dict"),
        ({"k": np.ones(4)}, {"k": "0"}, "got '0' for args['k']"),
        ({"k": np.ones(4)}, {"q": 0}, "with an entry for each, got {'q': 0}"),
    ],
)
def test_axes_that_do_not_fit_are_one_line(args, axes, said):
    y0 = np.ones((4, 2), np.float32)
    for solved in (
        lambda: kx.solve(lambda t, y, a: -y, y0, 0.0, 1.0, solver=RK4, args=args, args_axes=axes, batch_axis=0),
        lambda: kx.distill(
            lambda t, y, a: -y,
            y0,
            0.0,
            1.0,
            student=kx.student("shared", 4),
            args=args,
            args_axes=axes,
            key=jax.random.key(0),
        ),
    ):
        with pytest.raises(kx.UserError) as error:
            solved()
        assert said in str(error.value) and "\n" not in str(error.value)


def test_axes_of_nested_args():
    """A tuple with a dict in it: each sample decays at the product of three rates."""
    rng = np.random.default_rng(4)
    y0 = rng.uniform(1, 2, (4, 2)).astype(np.float32)
    a, b = rng.uniform(0.5, 1, (4,)).astype(np.float32), rng.uniform(0.5, 1, (2, 4)).astype(np.float32)
    field = lambda t, y, args: -args[0] * args[1]["b"] * args[1]["c"] * y
    solved = kx.solve(
        field, y0, 0.0, 1.0, solver=kx.Adaptive(kx.tableaus.DOPRI5, 1e-6, 1e-6), batch_axis=0,
        args=(a, {"b": b, "c": 0.5}), args_axes=(0, {"b": 1, "c": None}),
    )  # fmt: skip
    np.testing.assert_allclose(solved.y1, y0 * np.exp(-0.5 * a[:, None] * b.T), rtol=1e-5)

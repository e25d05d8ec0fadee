"""Solvers on disk and elsewhere: JSON bit for bit, NumPy source that runs, LaTeX that holds together."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kuttax as kx
from kuttax.errors import UserError
from kuttax.solvers.rk.tableaus import BOSH3, DOPRI5, EULER, HEUN2, RK4, RK38, Tableau
from kuttax.solvers.serialise import from_json, to_json

OWN = Tableau.explicit("own", [[0.75]], [1 / 3, 2 / 3], 2, error=[-2 / 3, 2 / 3], error_order=1)


def moved(solver):
    """With parameters that no decimal of few digits hits."""
    leaves, structure = jax.tree.flatten(solver)
    rng = np.random.default_rng(0)
    return jax.tree.unflatten(structure, [x + (rng.normal(size=x.shape) / 7).astype(x.dtype) for x in leaves])


LEARNED = {
    "projected": lambda dtype: kx.LearnedRK.from_tableau(RK4, 3, order=2, per_step=True, learn_steps=True, dtype=dtype),
    "shared": lambda dtype: kx.LearnedRK.from_tableau(RK4, 3, order=3, stages=5, trained_for=(0.1, -0.7), dtype=dtype),
    "closed 2": lambda dtype: kx.LearnedRK.from_tableau(HEUN2, 2, per_step=True, dtype=dtype),
    "closed 3": lambda dtype: kx.LearnedRK.from_tableau(BOSH3, 2, learn_steps=True, dtype=dtype),
    "closed 4": lambda dtype: kx.LearnedRK.from_tableau(RK38, 2, trained_for=(0.0, 1 / 3), dtype=dtype),
    "closed 4, half": lambda dtype: kx.LearnedRK.from_tableau(RK4, 2, dtype=dtype),
    "multistep": lambda dtype: kx.LearnedRK.from_tableau(EULER.compose(5), 1, order=1, dtype=dtype),
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kind", LEARNED)
def test_learned_solvers_come_back_bit_for_bit(kind, dtype, tmp_path):
    solver = moved(LEARNED[kind](dtype))
    path = tmp_path / "solver.json"
    kx.save(path, solver)
    back = kx.load(path)
    assert jax.tree.structure(back) == jax.tree.structure(solver)
    assert bool(eqx.tree_equal(back, solver))  # dtypes, shapes and bits
    assert back.trained_for == solver.trained_for
    assert back.name == solver.name
    assert [p.name for p in tmp_path.iterdir()] == ["solver.json"]
    # The file says, for a reader, which coefficients these are.
    table = json.loads(path.read_text())["table"]
    for name in ("a", "b", "c", "h"):
        np.testing.assert_array_equal(np.array(table[name], dtype), getattr(solver.table(dtype), name))


@pytest.mark.parametrize(
    "solver",
    [
        kx.FixedSteps(RK4, 7),
        kx.FixedSteps(OWN, 2),
        kx.Adaptive(DOPRI5, 1e-5, 1 / 3e6),
        kx.Adaptive(OWN, 1e-3, 1e-4, control="per_sample", pcoeff=0.1, icoeff=0.7, safety=0.8, first_step=0.1),
    ],
    ids=["fixed", "fixed of one's own", "adaptive", "adaptive of one's own"],
)
def test_classical_solvers_come_back(solver, tmp_path):
    kx.save(tmp_path / "solver.json", solver)
    back = kx.load(tmp_path / "solver.json")
    assert type(back) is type(solver)
    if solver.tableau is OWN:
        for name in ("name", "order", "error_order", "dense_order"):
            assert getattr(back.tableau, name) == getattr(OWN, name)
        for name in ("a", "b", "c", "error", "dense"):
            np.testing.assert_array_equal(getattr(back.tableau, name), getattr(OWN, name))
    else:
        assert back.tableau is solver.tableau
    for name in (
        "steps",
        "control",
        "rtol",
        "atol",
        "pcoeff",
        "icoeff",
        "safety",
        "factor_min",
        "factor_max",
        "first_step",
    ):
        assert getattr(back, name, None) == getattr(solver, name, None)


def good():
    return json.loads(json.dumps(to_json(LEARNED["projected"](jnp.float64))))


def without(name):
    return {key: value for key, value in good().items() if key != name}


DAMAGED = {
    "a list": ([1, 2], r"the data is not a saved solver \(its 'format' is not 'kuttax-solver'\): give"),
    "another format": ({"format": "something"}, "the data is not a saved solver"),
    "a newer version": ({**good(), "version": 99}, "the data has version 99, this kuttax reads 1: update kuttax"),
    "an unknown kind": ({**good(), "kind": "Magic"}, "the data holds an unknown kind of solver, 'Magic'"),
    "no kind": (without("kind"), "the data is a damaged solver file"),
    "no chart": (without("chart"), "the data is a damaged solver file"),
    "no steps": (without("steps"), "the data is a damaged solver file"),
    "an unknown family": ({**good(), "chart": {"family": "X", "free": [[1.0]]}}, "the data is a damaged solver file"),
    "text for numbers": ({**good(), "logits": ["a", "b", "c"]}, "the data is a damaged solver file"),
    "an unknown dtype": ({**good(), "dtype": "float12"}, "the data is a damaged solver file"),
    "too few step sizes": ({**good(), "logits": [0.0]}, "the data is a damaged solver file"),
    "too few rows": ({**good(), "steps": 5}, "the data is a damaged solver file"),
    "negative steps": ({**good(), "steps": -3}, "steps must be a whole number >= 1, got -3"),
    "an entry too many": (
        {**to_json(LEARNED["closed 4"](jnp.float64)), "chart": {"family": "Order4", "free": [[0.1, 0.2, 0.3]]}},
        "the data is a damaged solver file",
    ),
    "weights that do not fit": (
        {**good(), "chart": {**good()["chart"], "weights": [[1.0]] * 3}},
        "the data is a damaged solver file",
    ),
    "not a number": (
        {**good(), "chart": {**good()["chart"], "weights": [[float("nan")] * 4] * 3}},
        "the data is a damaged solver file",
    ),
    "no tableau": (
        {**to_json(kx.FixedSteps(RK4, 2)), "tableau": "rk5"},
        "unknown tableau 'rk5'; known: euler, midpoint",
    ),
    "a broken tableau": (
        {**to_json(kx.FixedSteps(OWN, 2)), "tableau": {**to_json(kx.FixedSteps(OWN, 2))["tableau"], "b": [1.0]}},
        "own: |the data is a damaged solver file",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_data_are_refused(case):
    data, message = DAMAGED[case]
    with pytest.raises(UserError, match=message) as caught:
        from_json(data)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_solvers(tmp_path):
    with pytest.raises(UserError, match=r"no solver file at .*nowhere\.json: give the path of a solver\.json"):
        kx.load(tmp_path / "nowhere.json")
    (tmp_path / "torn.json").write_text(json.dumps(good())[:100])
    (tmp_path / "picture.json").write_bytes(bytes(range(128, 256)))
    for name in ("torn.json", "picture.json", "."):
        with pytest.raises(UserError, match="is not a solver file"):
            kx.load(tmp_path / name)
    (tmp_path / "empty.json").write_text("{}")
    with pytest.raises(UserError, match=r"empty\.json is not a saved solver"):
        kx.load(tmp_path / "empty.json")


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "solver.json"
    kx.save(path, kx.FixedSteps(RK4, 3))
    broken = eqx.tree_at(lambda s: s.logits, LEARNED["projected"](jnp.float64), jnp.full(3, jnp.nan))
    with pytest.raises(ValueError, match="JSON"):
        kx.save(path, broken)
    assert kx.load(path).steps == 3


def test_what_cannot_be_saved():
    diffrax = pytest.importorskip("diffrax")
    with pytest.raises(UserError, match="a FromDiffrax cannot be saved: save what it was made from"):
        to_json(kx.FromDiffrax(diffrax.Tsit5()))


# Export.


@pytest.mark.parametrize(
    "solver", [kx.FixedSteps(DOPRI5, 3), *(make(jnp.float64) for make in LEARNED.values())], ids=str
)
def test_exported_source_gives_the_same_numbers(solver):
    """It needs NumPy alone."""
    if isinstance(solver, kx.LearnedRK):
        solver = moved(solver).for_interval(0.2, 1.2)
    program = {}
    exec(kx.export.to_numpy_source(solver), program)
    theirs = program["integrate"](lambda t, y: np.sin(y) * np.cos(3 * t) - y**2, np.array([0.3, 1.0]), 0.2, 1.2)
    ours = kx.solve(
        lambda t, y, args: jnp.sin(y) * jnp.cos(3 * t) - y**2, np.array([0.3, 1.0]), 0.2, 1.2, solver=solver
    )
    np.testing.assert_allclose(theirs, ours.y1, rtol=1e-13)
    assert "kuttax" in program["__doc__"]
    assert not {"jax", "kuttax"} & set(program)


@pytest.mark.parametrize(
    "solver", [kx.FixedSteps(DOPRI5, 3), *(make(jnp.float32) for make in LEARNED.values())], ids=str
)
def test_exported_latex_holds_together(solver):
    """As many arrays as different steps, in each a row of s + 1 cells a stage, and one of weights."""
    if isinstance(solver, kx.LearnedRK):
        solver = moved(solver)
    table = kx.export.to_numpy(solver)
    text = kx.export.to_latex(solver, digits=9)
    arrays = text.split(r"\begin{array}{")[1:]
    different = isinstance(solver, kx.LearnedRK) and (solver.rows > 1 or solver.logits is not None)
    assert len(arrays) == (solver.steps if different else 1)
    assert text.count(r"\end{array}") == len(arrays)
    s = solver.stages
    for n, array in enumerate(arrays):
        columns, body = array.split("}\n", 1)
        assert columns == "c|" + "c" * s
        body, weights = body.split(r"\end{array}")[0].split(r"\hline")
        rows = body.strip().removesuffix(r"\\").split(r"\\")
        assert len(rows) == s
        for i, row in enumerate(rows):
            cells = [cell.strip() for cell in row.split("&")]
            assert len(cells) == s + 1
            assert cells[i + 1 :] == [""] * (s - i)
            numbers = [float(x) for x in cells[: i + 1]]
            np.testing.assert_allclose(numbers, [table.c[n, i], *table.a[n, i, :i]], rtol=1e-8, atol=1e-9)
        numbers = [float(x) for x in weights.split("&")[1:]]
        np.testing.assert_allclose(numbers, table.b[n], rtol=1e-8, atol=1e-9)

"""What objects say of themselves: in `print`, and in a notebook."""

import html
import re
from xml.etree import ElementTree

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kuttax as kx

STARTS = jnp.asarray(np.linspace(1, 4, 12).reshape(4, 3))


def decay(t, y, args):
    return -y * y


@pytest.mark.parametrize("control", ["joint", "per_sample"])
def test_a_solution_says_how_it_ended_and_what_it_cost(control):
    solver = kx.Adaptive(kx.tableaus.TSIT5, 1e-5, 1e-5, control=control)
    sol = kx.solve(decay, STARTS, 0.0, 1.0, solver=solver, batch_axis=0, ts=[0.5, 1.0])
    nfe = np.asarray(sol.stats.nfe)
    said = f"NFE {nfe}" if control == "joint" else f"NFE {nfe.mean():.4g} ({nfe.min()} to {nfe.max()})"
    lines = str(sol).splitlines()
    assert lines[0] == "solution: the solve reached its end"
    assert lines[1].startswith(f"  cost: {said}, ") and lines[1].endswith(" rejected")
    assert lines[2:] == ["  y1: float64[4, 3]", "  ys: float64[2, 4, 3]"]
    assert str(sol.stats) in lines[1]


def test_a_failed_solution_says_so_and_how_many_samples():
    solver = kx.Adaptive(kx.tableaus.TSIT5, 1e-5, 1e-5, control="per_sample")
    starts = jnp.asarray([[-1.0], [0.5], [-2.0]])
    sol = kx.solve(decay, starts, 0.0, 2.0, solver=solver, batch_axis=0, throw=False)
    assert "(2 of 3 samples): " in str(sol).splitlines()[0]


def test_notebooks_show_the_same_text():
    sol = kx.solve(decay, STARTS, 0.0, 1.0, solver=kx.FixedSteps(kx.tableaus.RK4, 4))
    for one in (sol, sol.stats, kx.FixedSteps(kx.tableaus.RK4, 4), kx.tableaus.RK4):
        assert one._repr_html_() == f"<pre>{html.escape(str(one))}</pre>"


@pytest.mark.parametrize("meant", [(0.0, 2.0), None])
def test_a_learned_solver_shows_its_steps_and_its_evaluations(meant):
    """As an SVG that parses. RK4 evaluates at the start, twice in the middle and at the end of each step."""
    solver = kx.LearnedRK.from_tableau(kx.tableaus.RK4, steps=2, order=2, learn_steps=True)
    solver = eqx.tree_at(lambda s: s.logits, solver, jnp.log(jnp.asarray([3.0, 1.0])))
    solver = solver if meant is None else solver.for_interval(*meant)
    picture, text = solver._repr_html_().split("</svg>")
    assert text == f"<pre>{html.escape(str(solver))}</pre>"
    svg = {"s": "http://www.w3.org/2000/svg"}
    found = ElementTree.fromstring(picture + "</svg>")
    middle = 0.01 / 2 + 0.99 * 0.75
    across = lambda name, key: [(float(one.get(key)) - 40) / 480 for one in found.findall(f"s:{name}", svg)]
    np.testing.assert_allclose(across("line", "x1")[1:], [0, middle, 1], atol=2e-4)
    halves = [0, middle / 2, middle / 2, middle, middle, (1 + middle) / 2, (1 + middle) / 2, 1]
    np.testing.assert_allclose(across("circle", "cx"), halves, atol=2e-4)
    ends = ["start", "end"] if meant is None else ["t = 0", "t = 2"]
    assert [one.text for one in found.findall("s:text", svg)] == ends


@pytest.mark.parametrize(("steps", "verdict"), [(1, "invalid"), (512, "valid")])
def test_a_certificate_shows_each_change_beside_what_is_allowed(steps, verdict):
    """As HTML that parses, with a bar for each criterion, no longer than its row."""

    def predict(solver, batch):
        sol = kx.solve(decay, batch, 0.0, 1.0, solver=solver, batch_axis=0, throw=False)
        return kx.Prediction(sol.y1, jnp.mean(sol.y1**2), stats=sol.stats, status=sol.status.max())

    starts = jnp.asarray(np.random.default_rng(0).uniform(1, 2, (200, 3)))
    certificate = kx.certify(predict, kx.FixedSteps(kx.tableaus.EULER, steps), starts)
    page = certificate._repr_html_()
    found = ElementTree.fromstring(f"<div>{page.replace('<br>', '<br/>')}</div>")
    assert found.find("b").text == certificate.verdict == verdict
    rows = found.findall(".//tr")
    assert len(rows) == len(certificate.judged.criteria) > 0
    for row, criterion in zip(rows, certificate.judged.criteria, strict=True):
        share = 100 * abs(criterion.value) / criterion.threshold
        assert row[2].text == f"{share:.3g} %"
        width = float(re.search(r"width:([0-9.]+)%", row[1][0][0].get("style"))[1])
        assert width == pytest.approx(min(share / 2.5, 100), abs=0.051)
    assert repr(certificate) == str(certificate) and found.find("pre").text == str(certificate)


RK4 = kx.FixedSteps(kx.tableaus.RK4, 4)
FITTED = "LearnedRK from RK4: order 4, 4 stages x 1 step, shared coefficients, equal steps"
SOLVERS = [
    (RK4, "FixedSteps(RK4, steps=4)"),
    (kx.Adaptive(kx.tableaus.TSIT5, 1e-3, 1e-6), "Adaptive(Tsit5, rtol=0.001, atol=1e-06)"),
    (kx.Reversible(RK4), "Reversible(FixedSteps(RK4, steps=4), coupling=0.999)"),
    (kx.FromDiffrax(diffrax.Kvaerno5(), 1e-3, 1e-3), "FromDiffrax(Kvaerno5, rtol=0.001, atol=0.001)"),
    (kx.SRK(4), "SRK(steps=4)"),
    (
        kx.student("anchored", 5),
        "LearnedRK from Euler x 5: order 1, 5 stages x 1 step, shared coefficients, equal steps",
    ),
]


@pytest.mark.parametrize(("solver", "line"), SOLVERS, ids=[line.split("(")[0] for _, line in SOLVERS])
def test_a_solver_takes_one_line_wherever_it_is_printed(solver, line):
    """In lists and prompts; inside a compiled function, where its numbers are unknown; and as a tree of anything."""
    assert repr([solver]) == f"[{line}]" and str(solver).splitlines()[0] == line
    inside = []
    eqx.filter_jit(lambda solver: inside.append((str(solver), repr(solver))))(solver)
    assert len(inside[0][0].splitlines()) == 1
    for other in ("label", None, jax.ShapeDtypeStruct((), "float32")):
        tree = jax.tree.map(lambda _: other, solver)  # noqa: B023
        assert str(tree) and repr(tree)


def test_a_solver_without_a_text_is_printed_as_a_module():
    class Own(kx.AbstractSolver):
        size: int = 3

        def check(self, problem):
            raise NotImplementedError

        def run(self, problem, derivative):
            raise NotImplementedError

    assert repr(Own(4)).endswith("Own(size=4)")

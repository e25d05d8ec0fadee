"""A few cases of the fuzz command; thousands are run by hand (`python -m tests.fuzz`, experiments/fuzz)."""

import dataclasses
import itertools

import numpy as np
import pytest
from slowness import slow

import kuttax as kx
from tests.fuzz import commands, engine, files, outcome
from tests.fuzz.families import AUTONOMOUS, TIMED


def first_wrong_lines(count):
    """The numbers of lines that are refused before anything is trained."""
    lines = ((n, commands.Line.draw(np.random.default_rng([1, n]))) for n in itertools.count())
    return itertools.islice((n for n, line in lines if line.wrong and line.arguments[0] in ("fit", "train")), count)


@pytest.mark.parametrize(
    ("part", "cases"),
    [
        slow(engine, range(0, 5 * engine.BLOCK, engine.BLOCK)),
        (commands, list(first_wrong_lines(12))),
        slow(files, range(0, 4 * len(files.READERS), len(files.READERS))),
    ],
    ids=["engine", "commands", "files"],
)
def test_a_few_cases_have_no_fault(part, cases):
    found = outcome.run(part.__name__.rpartition(".")[2], 1, cases, part.try_case)
    assert not found.faults
    assert found.kinds.total() == len(cases)


@pytest.mark.parametrize("family", [*AUTONOMOUS, *TIMED], ids=lambda family: family.name)
def test_closed_form_solves_its_field(family):
    """By central differences, while the solution lives."""
    z0, p, step = np.array([[0.4, 0.7]]), 0.9, 1e-5
    t = 0.5 * min(1.0, float(np.min(family.alive(z0, p))))
    slope = (family.flow(t + step, z0, p) - family.flow(t - step, z0, p)) / (2 * step)
    np.testing.assert_allclose(family.slope(np, t, family.flow(t, z0, p), p), slope, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(family.flow(0.0, z0, p), z0, rtol=1e-12)


def test_a_wrong_number_is_a_fault(monkeypatch):
    """A solver that loses a part in a thousand is seen."""
    solve = kx.solve

    def off(*args, **kwargs):
        sol = solve(*args, **kwargs)
        return dataclasses.replace(sol, y1=1.001 * sol.y1)

    monkeypatch.setattr(engine.kx, "solve", off)
    case = next(n for n in range(400) if engine.Case.draw(0, n).block.dtype == "float64")
    found = outcome.run("engine", 0, [case], engine.try_case)
    assert len(found.faults) == 1 and f"--seed 0 --case {case}" in found.faults[0]["again"]

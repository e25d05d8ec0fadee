"""Slow tests are left out by `make test`, exhaustive ones by `make test-all` too."""

from pathlib import Path

from slowness import mostly_slow, slow

import kuttax as kx

ROOT = Path(__file__).parents[1]


def test_all_cases_but_the_quick_ones_are_slow():
    assert mostly_slow({"a": 1, "b": 2, "c": 3}) == ["a", slow("b"), slow("c")]
    assert mostly_slow("abc", "b", "c") == [slow("a"), "b", "c"]
    assert [mark.name for mark in slow(1, 2).marks] == ["slow"]


def test_cases_by_the_longest_programs_are_exhaustive():
    marks = lambda case: [mark.name for mark in case.marks]
    assert marks(slow(1, kx.FixedSteps(kx.tableaus.DOPRI8, 2))) == marks(slow("diffrax, steps")) == ["exhaustive"]
    assert marks(slow("a page about diffrax")) == ["slow"]
    assert mostly_slow(["diffrax", "rk4"]) == ["diffrax", slow("rk4")]


def test_the_check_of_a_change_runs_every_test_of_the_library():
    check, makefile = (ROOT / ".ci" / "run").read_text(), (ROOT / "Makefile").read_text()
    assert "lint docs\n" in check and check.endswith("\nmake test-all\n")
    assert (
        '\ntest: setup\n\t$(PYTEST) --durations=15 -m "not slow and not exhaustive and not experiment" $(T)\n'
        in makefile
    )
    assert '\ntest-all: setup\n\t$(PYTEST) --durations=15 -m "not exhaustive and not experiment" $(T)\n' in makefile
    assert "\ntest-exhaustive: setup\n\t$(PYTEST) --durations=15 -m exhaustive $(T)\n" in makefile
    assert makefile.count("slow and") == 1


def test_only_what_runs_a_script_of_experiments_or_benchmarks_is_left_out():
    files = [path for path in ROOT.glob("tests/test_*.py") if "mark.experiment\n" in path.read_text()]
    assert {path.name for path in files} <= {
        "test_experiments.py", "test_experiments_density.py", "test_experiments_validity.py", "test_parallel.py",
        "test_benchmarks.py", "test_benchmark_gpu.py", "test_experiments_measured.py",
    }  # fmt: skip

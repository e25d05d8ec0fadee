"""Slow tests are left out by `make test`, and by nothing else."""

from pathlib import Path

from slowness import mostly_slow, slow

ROOT = Path(__file__).parents[1]


def test_all_cases_but_the_quick_ones_are_slow():
    assert mostly_slow({"a": 1, "b": 2, "c": 3}) == ["a", slow("b"), slow("c")]
    assert mostly_slow("abc", "b", "c") == [slow("a"), "b", "c"]
    assert [mark.name for mark in slow(1, 2).marks] == ["slow"]


def test_the_check_of_a_change_runs_every_test():
    assert (ROOT / ".ci" / "run").read_text().endswith("\nmake lint docs test-all\n")
    makefile = (ROOT / "Makefile").read_text()
    assert '\ntest: setup\n\t$(PYTEST) --durations=15 -m "not slow" $(T)\n' in makefile
    assert makefile.count('slow"') == 1

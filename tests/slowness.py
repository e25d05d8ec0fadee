"""Cases of a parametrised test that `make test` leaves out, and `make test-all` runs."""

import pytest


def slow(*values, name=None):
    """A case with these values, marked slow."""
    return pytest.param(*values, marks=pytest.mark.slow, id=name)


def mostly_slow(cases, *quick):
    """The cases in their order, each one value, all marked slow but those in `quick`; without it, but the first."""
    cases = list(cases)
    return [case if case in (quick or cases[:1]) else slow(case) for case in cases]

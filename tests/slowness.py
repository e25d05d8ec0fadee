"""Cases of a parametrised test that `make test` leaves out, and which of them `make test-all` leaves out too."""

import pytest


def slow(*values, name=None):
    """A case with these values, marked slow; exhaustive where it repeats others by Dopri8 or by diffrax."""
    long = any(_compiles_long(value) for value in values)
    return pytest.param(*values, marks=pytest.mark.exhaustive if long else pytest.mark.slow, id=name)


def mostly_slow(cases, *quick):
    """The cases in their order, each one value, all marked slow but those in `quick`; without it, but the first."""
    cases = list(cases)
    return [case if case in (quick or cases[:1]) else slow(case) for case in cases]


def _compiles_long(value):
    """Whether this is a solver, or the name of one, whose program takes the compiler longest."""
    if isinstance(value, str):
        return value.startswith("diffrax")
    return any(name in str(value) for name in ("Dopri8", "FromDiffrax"))

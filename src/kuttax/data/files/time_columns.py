"""Which columns of a user's table are its times, and the unit that their names give."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...errors import UserError
from .cells import clock_in, states_date
from .columns import BRACKETS
from .summary import listed
from .table import INDEX, Table

_TIMES = ("t", "time", "times", "date", "dates", "datetime", "timestamp", "timestamps", "elapsed", "elapsedtime")
_COUNTS = re.compile(r"(sec|second|minute|hour|day|week|month|year)s?")  # times in a table that has none of these
_UNIT = r"([mun\u00b5]?s|secs?|seconds?|mins?|minutes?|h|hrs?|hours?|d|days?|weeks?|yrs?|years?)"
_BEHIND = re.compile(rf"[\s_/,.]+{_UNIT}$", re.IGNORECASE)
_ZONE = re.compile(r"[\s_/]*[(\[]?(utc|gmt|local)[)\]]?$", re.I)
_DEGREES = ("k", "c", "f", "\u00b0c", "\u00b0f", "degc", "degf", "deg c", "deg f")


def unit_in(name: str) -> str | None:
    """The unit of times that the name of their column ends with: `s` of `time (s)` and of `time_s`; None for none."""
    if _ZONE.search(name):
        return None
    if (found := BRACKETS.search(name)) is not None:
        return found[1]
    found = _BEHIND.search(name)
    return None if found is None else found[1].lower()


def time_columns(table: Table, names: Sequence[str], others: str) -> tuple[str, ...]:
    """The times among these columns: one, or a column of dates and one of clock times.

    It is the one with a usual name, with a unit behind it or none; or else the only one of dates, with the only one of
    clock times; or else one such as `year` or `hour`; or else the table's index.

    Args:
        table: The table.
        names: The columns to choose from.
        others: The option that names the columns of values, for messages.

    Raises:
        UserError: Several columns may be the times, or none.
    """
    bare = {name: _bare(name) for name in names}
    found = [name for name in names if bare[name] in _TIMES and not _is_temperature(name)]
    if sorted(bare[name] for name in found) == ["date", "time"] and not any(map(unit_in, found)):
        return tuple(sorted(found, key=lambda name: bare[name]))
    if not found:
        found = [name for name in names if _all(_states_date, table, name)]
        clocks = [name for name in names if _all(_states_clock, table, name)]
        if len(found) == len(clocks) == 1:
            return found[0], clocks[0]
    found = found or [name for name in names if _COUNTS.fullmatch(bare[name])]
    if not found and INDEX in table.choosable and not _counts_rows(table.cells(INDEX)):
        return (INDEX,)
    if not found:
        raise UserError(f"{table.source}: no column of times among {listed(names)}: name it with --time")
    if len(found) > 1:
        either = f"{' and '.join(found)} may both be the times"
        mend = f"name one with --time, and the columns of values with {others}; or make one column of dates of them"
        raise UserError(f"{table.source}: {either}: {mend}")
    return (found[0],)


def _bare(name: str) -> str:
    """The name of a column of times without unit and zone, in small letters and as one word."""
    short = _BEHIND.sub("", BRACKETS.sub("", _ZONE.sub("", name.strip())))
    return re.sub(r"[\s_/-]+", "", short).lower()


def _is_temperature(name: str) -> bool:
    """Whether a name that begins with t is of a temperature, or may well be: T, T (K), t_min."""
    unit = unit_in(name)
    letter = _BEHIND.sub("", BRACKETS.sub("", name.strip()))
    if letter not in ("t", "T"):
        return False
    known = unit is not None and _BEHIND.search(f" {unit}") is not None
    of_temperature = unit is not None and (unit.lower() in _DEGREES or name.strip().lower() in ("t_min", "t min"))
    return of_temperature or (letter == "T" and not known)


def _all(states: Callable[[Any], bool], table: Table, name: str) -> bool:
    """Whether all cells of a column state this; columns of numbers state neither dates nor clock times."""
    values = table.columns[name]
    return values.dtype.kind not in "iufbc" and all(states(value) for value in values)


def _states_date(cell: Any) -> bool:
    return isinstance(cell, np.datetime64) or states_date(cell)


def _states_clock(cell: Any) -> bool:
    return clock_in(cell) is not None


def _counts_rows(index: np.ndarray) -> bool:
    """Whether an index counts rows, from 0 or from 1."""
    try:
        numbers = index.astype(np.float64)
    except (TypeError, ValueError):
        return False
    return numbers[0] in (0, 1) and np.array_equal(numbers - numbers[0], np.arange(len(numbers)))

"""Times: columns of numbers, dates, clock times or durations as times."""

import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float

from ...errors import UserError
from .cells import clock_in, date_in, date_of_digits, number_in
from .table import NO_GAPS, Table, rows_of

_NO_TIME = (
    "is no number, date or clock time but {!r}: mend the {}, or write dates as 2026-12-31, 2026-12-31T13:00:00 or "
    "31.12.2026, clock times as 13:00 or 13:00:00"
)
_NO_CLOCK = "is no clock time such as 13:00 or 13:00:00 but {!r}: mend the {}, or name one column of times with --time"
_UNITS = {"d": 86_400, "h": 3600, "min": 60, "s": 1}
"""Units of times, the largest first, in seconds."""

_T = TypeVar("_T")
_Seconds = Float[np.ndarray, " rows"]


class Times(NamedTuple):
    """The times of a table's rows.

    Attributes:
        values: One a row, (rows,).
        unit: That of dates, clock times and durations; None for numbers, whose unit only the user knows.
        name: What pictures call them, with their unit.
    """

    values: Float[np.ndarray, " rows"]
    unit: str | None
    name: str


def times_of(table: Table, names: Sequence[str], groups: Sequence[str]) -> Times:
    """A column as times, or a column of dates and one of clock times.

    Dates and clock times become the time since the first of all, in the largest unit that is no larger than the usual
    gap between two of them; durations keep their origin.

    Args:
        table: The table.
        names: Of one column, or of two.
        groups: The label of each row's trajectory or series, within which gaps are measured.

    Raises:
        UserError: A cell is empty, or states no time; there are dates with a time zone and others without; or clock
            times without dates go back within a group.
    """
    if len(names) > 2:
        raise UserError(f"{table.source}: times are one column, or a date and a clock time, but {len(names)} are named")
    for name in names:
        table.refuse(table.empty(name), name, NO_GAPS)
    seconds = _of_one(table, names[0], groups) if len(names) == 1 else _of_two(table, *names)
    if seconds is None:
        return Times(table.numbers(names[0]), None, names[0])
    values, unit = _in_usual_unit(seconds, groups)
    return Times(values, unit, f"time ({unit})")


def _of_one(table: Table, name: str, groups: Sequence[str]) -> _Seconds | None:
    """The seconds in a column; None if it has numbers."""
    values = table.columns[name]
    if values.dtype.kind in "mM":
        return _seconds_of_array(values)
    dates = _all(date_of_digits, values)
    if dates is None:
        if values.dtype.kind in "iuf" or number_in(values[0], table.decimal) is not None:
            return None
        clocks = _all(clock_in, values)
        if clocks is not None:
            return _seconds_of_clocks(table, name, clocks, groups)
        dates = _each(date_in, table, name, _NO_TIME)
    return _seconds_of_dates(table, name, dates)


def _of_two(table: Table, date: str, clock: str) -> _Seconds:
    """The seconds in a column of dates and one of clock times."""
    dates = _all(date_of_digits, table.columns[date]) or _each(date_in, table, date, _NO_TIME)
    clocks = _each(clock_in, table, clock, _NO_CLOCK)
    return _seconds_of_dates(table, date, [day + time for day, time in zip(dates, clocks, strict=True)])


def _all(read: Callable[[Any], _T | None], values: np.ndarray[Any, Any]) -> list[_T] | None:
    """What is read in the cells; None if one of them cannot be read."""
    found = [read(value) for value in values]
    return None if None in found else [one for one in found if one is not None]


def _each(read: Callable[[Any], _T | None], table: Table, name: str, wrong: str) -> list[_T]:
    """What is read in the cells of a column.

    Raises:
        UserError: One of them cannot be read.
    """
    found = [read(value) for value in table.columns[name]]
    table.refuse([one is None for one in found], name, wrong)
    return [one for one in found if one is not None]


def _seconds_of_dates(table: Table, name: str, dates: Sequence[datetime]) -> _Seconds:
    """The seconds since the first of these dates."""
    if len({date.tzinfo is None for date in dates}) > 1:
        raise UserError(f"{table.source}: {name}: some dates have a time zone and some have none: give all or none")
    zoned = [date if date.tzinfo else date.replace(tzinfo=UTC) for date in dates]
    first = min(zoned)
    return np.array([(date - first) / timedelta(seconds=1) for date in zoned])


def _seconds_of_clocks(table: Table, name: str, clocks: Sequence[timedelta], groups: Sequence[str]) -> _Seconds:
    """The seconds since the first of these times of day, none of which is after midnight of the day that it begins."""
    for rows in rows_of(groups).values():
        for before, row in itertools.pairwise(rows):
            if clocks[row] < clocks[before]:
                back = f"goes back from {table.text(before, name)} to {table.text(row, name)}"
                raise UserError(f"{table.place(row)}: {name} {back}: sort the rows, or give the dates in a column too")
    return np.array([(clock - min(clocks)) / timedelta(seconds=1) for clock in clocks])


def _seconds_of_array(values: np.ndarray[Any, Any]) -> _Seconds:
    """The seconds since the first of an array of dates, or those of one of durations."""
    if np.datetime_data(values.dtype)[0] in ("Y", "M"):  # of no fixed length
        values = values.astype(f"{values.dtype.kind}8[D]")
    return (values - values.min() if values.dtype.kind == "M" else values) / np.timedelta64(1, "s")


def _in_usual_unit(seconds: _Seconds, groups: Sequence[str]) -> tuple[Float[np.ndarray, " rows"], str]:
    """Times in the largest unit that is no larger than the usual gap between two of them, and that unit."""
    group = np.unique(np.array(groups), return_inverse=True)[1]
    order = np.lexsort((seconds, group))
    gaps = np.diff(seconds[order])[np.diff(group[order]) == 0]
    gaps = gaps[gaps > 0]
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    unit, size = next(((unit, size) for unit, size in _UNITS.items() if usual >= size), ("s", 1))
    return seconds / size, unit

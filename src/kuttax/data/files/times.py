"""Times: columns of numbers, dates, clock times or durations as times."""

import functools
import itertools
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float

from ...errors import UserError
from .cells import Order, date_in, date_of_digits, duration_in, number_in, orders_in
from .table import NO_GAPS, Table, rows_of
from .time_columns import unit_in

_NO_DATE = "is no number, date or clock time but {!r}: mend the {}, or write dates as 2026-12-31 13:00 or 31.12.2026"
_EITHER_ORDER = "may begin with the day or the month, {!r}, and no row decides: write dates as 2026-12-31"
_NO_DIGITS = "is no date such as 2026-12-31 or 20261231 but {!r}: mend the {}"
_SHORTEST_DATE = 100_000  # 202612 is no number of days
_NO_CLOCK = "is no clock time such as 13:00 or 13:00:00 but {!r}: mend the {}"
_NO_SECOND = f"{_NO_CLOCK}, or name the times with --time, and the columns of values too"
_DATED = "has a time of day already, {!r}: name one column of times with --time, and the columns of values too"
_TWO_PARTS = "may be hours and minutes, or minutes and seconds: write {!r} with hours, as in 0:01:30"
_UNITS = {"d": 86_400, "h": 3600, "min": 60, "s": 1}
"""Units of times, the largest first, in seconds."""

_T = TypeVar("_T")
_Seconds = Float[np.ndarray, " rows"]


class Times(NamedTuple):
    """The times of a table's rows.

    Attributes:
        values: One a row, (rows,).
        unit: That of dates, clock times and durations; of numbers the one that the column's name ends with; or None.
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
        return Times(table.numbers(names[0]), unit_in(names[0]), names[0])
    values, unit = _in_usual_unit(seconds, groups)
    return Times(values, unit, f"time ({unit})")


def _of_one(table: Table, name: str, groups: Sequence[str]) -> _Seconds | None:
    """The seconds in a column; None if it has numbers."""
    values = table.cells(name)
    if values.dtype.kind in "mM":
        return _seconds_of_array(values)
    if unit_in(name) is None and (dates := _of_digits(table, name)) is not None:
        return _seconds_of_dates(table, name, dates)
    if values.dtype.kind in "iuf" or number_in(values[0], table.decimal) is not None:
        if name.strip().lower() in ("date", "dates"):
            numbers = table.numbers(name)
            table.refuse((numbers >= _SHORTEST_DATE) & (numbers < 1e8), name, _NO_DIGITS)
        return None
    if duration_in(values[0]) is not None:
        return _seconds_of_clocks(table, name, groups)
    return _seconds_of_dates(table, name, _dates(table, name))


def _of_two(table: Table, date: str, clock: str) -> _Seconds:
    """The seconds in a column of dates and one of clock times."""
    days, clocks = table.cells(date), table.cells(clock)
    if days.dtype.kind == "M":
        table.refuse(days != days.astype("M8[D]"), date, _DATED)
        begun = _seconds_of_array(days)
    else:
        dates = _of_digits(table, date) or _dates(table, date)
        table.refuse([day.time() != datetime.min.time() for day in dates], date, _DATED)
        begun = _seconds_of_dates(table, date, dates)
    if clocks.dtype.kind == "m":
        begun += _seconds_of_array(clocks)
    else:
        begun += _seconds(_each(duration_in, table, clock, _NO_SECOND))
    return begun - begun.min()


def _dates(table: Table, name: str) -> list[datetime]:
    """The dates in a column. Whether 1/2/2026 is in January or in February is decided by rows such as 31/1/2026.

    Raises:
        UserError: A cell states no date, or no row decides.
    """
    orders = [orders_in(value) for value in table.cells(name)]
    decided: Order | None = next((found[0] for found in orders if len(found) == 1), None)
    if decided is None:
        table.refuse([len(one) > 1 for one in orders], name, _EITHER_ORDER)
    return _each(functools.partial(date_in, order=decided), table, name, _NO_DATE)


def _of_digits(table: Table, name: str) -> list[datetime] | None:
    """The dates in a column of dates without separators; None if it has something else.

    Raises:
        UserError: Most cells are such dates, but not all.
    """
    found = [date_of_digits(value) for value in table.cells(name)]
    dates = [date for date in found if date is not None]
    if 2 * len(dates) <= len(found):
        return None
    table.refuse([date is None for date in found], name, _NO_DIGITS)
    return dates


def _each(read: Callable[[Any], _T | None], table: Table, name: str, wrong: str) -> list[_T]:
    """What is read in the cells of a column.

    Raises:
        UserError: One of them cannot be read.
    """
    found = [read(value) for value in table.cells(name)]
    table.refuse([one is None for one in found], name, wrong)
    return [one for one in found if one is not None]


def _seconds(durations: Sequence[timedelta]) -> _Seconds:
    return np.array([duration / timedelta(seconds=1) for duration in durations])


def _seconds_of_dates(table: Table, name: str, dates: Sequence[datetime]) -> _Seconds:
    """The seconds since the first of these dates."""
    if len({date.tzinfo is None for date in dates}) > 1:
        raise UserError(f"{table.source}: {name}: some dates have a time zone and some have none: give all or none")
    zoned = [date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC) for date in dates]
    first = min(zoned)
    return _seconds([date - first for date in zoned])


def _seconds_of_clocks(table: Table, name: str, groups: Sequence[str]) -> _Seconds:
    """The seconds of durations; of times of day, those since the first one, if no row is after midnight."""
    found, unit = _each(duration_in, table, name, _NO_CLOCK), unit_in(name)
    parts = np.array([str(value).count(":") for value in table.cells(name)])
    scale = np.ones(len(parts))
    if unit is not None and re.fullmatch("mm?:ss", unit):
        scale[parts == 1] = 1 / 60
    elif unit is not None and ":" not in unit:
        table.refuse(parts == 1, name, _TWO_PARTS)
    seconds = _seconds(found) * scale
    if (scale != 1).any() or max(found) >= timedelta(days=1) or any("day" in str(cell) for cell in table.cells(name)):
        return seconds
    for rows in rows_of(groups).values():
        for before, row in itertools.pairwise(rows):
            if seconds[row] < seconds[before]:
                back = f"goes back from {table.text(before, name)} to {table.text(row, name)}"
                raise UserError(f"{table.place(row)}: {name} {back}: sort the rows, or give the dates in a column too")
    return seconds - seconds.min()


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

"""Times: a column of numbers, dates or durations as times."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from jaxtyping import Float

_UNITS = {"d": 86_400, "h": 3600, "min": 60, "s": 1}
"""Units of times, the largest first, in seconds."""


def have_one_clock(dates: Sequence[datetime]) -> bool:
    """Whether all dates have a time zone, or none has."""
    return len({date.tzinfo is None for date in dates}) <= 1


def seconds_of_dates(dates: Sequence[datetime]) -> Float[np.ndarray, " rows"]:
    """The seconds since the first of these dates."""
    zoned = [date if date.tzinfo else date.replace(tzinfo=UTC) for date in dates]
    first = min(zoned)
    return np.array([(date - first) / timedelta(seconds=1) for date in zoned])


def seconds_of_array(values: np.ndarray[Any, Any]) -> Float[np.ndarray, " rows"]:
    """The seconds since the first of an array of dates, or those of one of durations."""
    if np.datetime_data(values.dtype)[0] in ("Y", "M"):  # of no fixed length
        values = values.astype(f"{values.dtype.kind}8[D]")
    return (values - values.min() if values.dtype.kind == "M" else values) / np.timedelta64(1, "s")


def in_usual_unit(seconds: Float[np.ndarray, " rows"], groups: Sequence[str]) -> tuple[Float[np.ndarray, " rows"], str]:
    """Times in the largest unit that is no larger than the usual gap between two of them, and that unit.

    Args:
        seconds: The times.
        groups: The label of each row's trajectory or series, within which gaps are measured.
    """
    group = np.unique(np.array(groups), return_inverse=True)[1]
    order = np.lexsort((seconds, group))
    gaps = np.diff(seconds[order])[np.diff(group[order]) == 0]
    gaps = gaps[gaps > 0]
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    unit, size = next(((unit, size) for unit, size in _UNITS.items() if usual >= size), ("s", 1))
    return seconds / size, unit

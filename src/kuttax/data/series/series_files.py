"""Series from a user's own CSV file, with labels or without."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ...errors import UserError
from ..files.csv_file import read_csv
from ..files.numbers import TOO_LARGE, fits, number
from .labelled import Labelled, padded
from .series import Observed

Target = Literal["auto", "class", "number"]


class Loaded(NamedTuple):
    """The series of a file, the names of its channels, and those of its classes; None for numbers to predict."""

    series: Labelled
    names: tuple[str, ...]
    classes: tuple[str, ...] | None


def load(path: Path, target: Target = "auto") -> Loaded:
    """The series in a CSV file: a header line, then one line for each time of each series.

    Columns: `series`, any name of a series; `t`, its times from any origin; `label`, the same on all its lines; and
    one column for each channel, under any name. The order of columns and lines is free. An empty cell is a gap.

    Args:
        path: The file.
        target: The meaning of the labels. "class": each text is a class. "number": numbers to predict. "auto": numbers
            if all labels are numbers and at least one is not whole, else classes.

    Raises:
        UserError: The file cannot be read, or not as labelled series; the message names the place.
    """
    names, series = _read(path, ("series", "t", "label"))
    labels = [_label(path, name, [(row.line, row.cells["label"]) for row in rows]) for name, rows in series.items()]
    times, values = zip(*(_sorted(path, name, rows) for name, rows in series.items()), strict=True)
    y, classes = _targets(path, labels, target)
    return Loaded(padded(times, values, y), tuple(names), classes)


def load_observed(path: Path) -> tuple[list[Observed], tuple[str, ...]]:
    """The series in a CSV file without labels, and the names of their features.

    As for `load`, but there is no column `label`. The times of a series count from its first one.

    Raises:
        UserError: As `load`.
    """
    names, series = _read(path, ("series", "t"))
    found = []
    for name, rows in series.items():
        t, x = _sorted(path, name, rows)
        found.append(Observed(t - t[0], np.nan_to_num(x), ~np.isnan(x)))
    return found, tuple(names)


class _Row(NamedTuple):
    """A line of the file: its number, its time, its values with NaN for gaps, and all its cells by name."""

    line: int
    t: float
    values: list[float]
    cells: dict[str, str]


def _read(path: Path, fixed: Sequence[str]) -> tuple[list[str], dict[str, list[_Row]]]:
    """The names of the columns that are not `fixed`, and the lines of each series."""
    if path.suffix.lower() != ".csv":
        raise UserError(f"{path}: series are read from .csv files: convert it to one")
    if not path.is_file():
        raise UserError(f"no file at {path}: name a CSV file of series")
    header, lines = read_csv(path, ",".join((*fixed, "x")))
    names, series = _channels(path, header, fixed), {}
    for line, cells in lines:
        cell = dict(zip(header, (text.strip() for text in cells), strict=True))
        values = [_number(path, line, name, cell[name], gap=True) for name in names]
        row = _Row(line, _number(path, line, "t", cell["t"], gap=False), values, cell)
        series.setdefault(cell["series"], []).append(row)
    return names, series


def _channels(path: Path, header: list[str], fixed: Sequence[str]) -> list[str]:
    """The columns of values."""
    columns = f"the columns are {', '.join(fixed)}, and one for each channel"
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise UserError(f"{path}: column {twice[0]!r} is there twice: {columns}")
    missing = [name for name in fixed if name not in header]
    if missing:
        raise UserError(f"{path}: column {missing[0]!r} is missing: {columns}")
    names = [name for name in header if name not in fixed]
    if not names or "" in names:
        what = "a column has no name" if names else "there is no channel"
        raise UserError(f"{path}: {what}: {columns}")
    return names


def _number(path: Path, line: int, column: str, text: str, *, gap: bool) -> float:
    """A finite number; NaN for a gap, where there may be one."""
    value = np.nan if text == "" else number(text)
    if value is None or np.isinf(value) or (np.isnan(value) and not gap):
        raise UserError(f"{path}, line {line}: {column} is no finite number but {text!r}: mend the line")
    if not np.isnan(value) and not fits(value):
        raise UserError(f"{path}, line {line}: {column} = {text} {TOO_LARGE}: mend the line, or scale the data")
    return value


def _label(path: Path, series: str, found: list[tuple[int, str]]) -> str:
    """The label of a series, which all its lines repeat."""
    first = found[0][1]
    for line, label in found:
        if label == "":
            raise UserError(f"{path}, line {line}: series {series!r} has no label: give one on each of its lines")
        if label != first:
            raise UserError(f"{path}, line {line}: series {series!r} has the labels {first!r} and {label!r}: give one")
    return first


def _sorted(path: Path, series: str, rows: Sequence[_Row]) -> tuple[np.ndarray, np.ndarray]:
    """Times and values of a series, in the order of time."""
    rows = sorted(rows, key=lambda row: row.t)
    times = np.array([row.t for row in rows])
    again = np.flatnonzero(np.diff(times) == 0)
    if again.size:
        line, time = rows[again[0] + 1][:2]
        raise UserError(f"{path}, line {line}: series {series!r} has the time {time:.15g} twice: merge the two lines")
    return times, np.array([row.values for row in rows])


def _targets(path: Path, labels: list[str], target: Target) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """The labels as classes with their names, or as numbers."""
    numbers = [number(label) for label in labels]
    bad = next((label for label, x in zip(labels, numbers, strict=True) if x is None or not fits(x)), None)
    all_numbers = [np.nan if x is None else x for x in numbers]
    if target == "number" and bad is not None:
        raise UserError(f"{path}: the label {bad!r} is no finite number: mend it, or give --target class")
    if target == "number" or (target == "auto" and bad is None and any(x != round(x) for x in all_numbers)):
        return np.array(all_numbers), None
    classes = sorted(set(labels), key=(lambda label: float(label)) if bad is None else None)
    if len(classes) < 2:
        raise UserError(f"{path}: all series have the label {classes[0]!r}: give at least two classes")
    return np.array([classes.index(label) for label in labels], np.int32), tuple(classes)

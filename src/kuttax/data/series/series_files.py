"""Series from a user's own table, with labels or without."""

from typing import Any, Literal, NamedTuple

import numpy as np

from ...errors import UserError
from ..files.numbers import fits, number
from ..files.summary import listed, summary
from ..files.table import Table, rows_of, table_of
from ..files.times import Times, times_of
from .columns import USUAL, SeriesColumns
from .labelled import Labelled, padded
from .series import Observed

Target = Literal["auto", "class", "number"]


class LabelledSource(NamedTuple):
    """Labelled series, and what their source calls them.

    Attributes:
        series: At least one.
        names: The names of the channels.
        classes: Those of the classes; None for numbers to predict.
        summary: One line: how many series and times, what is observed, and what is missing.
    """

    series: Labelled
    names: tuple[str, ...]
    classes: tuple[str, ...] | None
    summary: str


class ObservedSource(NamedTuple):
    """Series without labels, and what their source calls them.

    Attributes:
        series: At least one; the times of each count from its first one.
        names: The names of the channels.
        time: That of the times, with their unit in brackets if the source gives one.
        summary: One line: how many series and times, what is observed, and what is missing.
    """

    series: list[Observed]
    names: tuple[str, ...]
    time: str
    summary: str


def load(
    source: Any, target: Target = "auto", columns: SeriesColumns = USUAL, delimiter: str | None = None
) -> LabelledSource:
    """The labelled series in a table: one row for each time of each series, in any order.

    Dates become the time since the first of all, in a unit that suits the gaps between them. An empty cell of a channel
    is a gap.

    Args:
        source: A CSV file (.csv, .tsv, .txt) with a header line, or a Parquet file; or a pandas DataFrame, an xarray
            Dataset, or a mapping from names to arrays.
        target: The meaning of the labels. "class": each text is a class. "number": numbers to predict. "auto": numbers
            if all labels are numbers and at least one is not whole, else classes.
        columns: Which columns are what.
        delimiter: Of a CSV file; None for the one that divides its lines alike.

    Raises:
        UserError: The source cannot be read, or not as labelled series; the message names the place.
    """
    table = table_of(source, "series", "series,t,label,x", delimiter)
    found = columns.found(table, labelled=True)
    assert found.label is not None
    every, _, about = _series(table, found.series, found.time, found.channel)
    texts = table.labels(found.label)
    labels = [_label(table, one, texts) for one in every]
    y, classes = _targets(table.source, labels, target)
    series = padded([one.t for one in every], [one.x for one in every], y)
    about += "; a number to predict" if classes is None else f"; classes {listed(classes)}"
    return LabelledSource(series, found.channel, classes, about)


def load_observed(source: Any, columns: SeriesColumns = USUAL, delimiter: str | None = None) -> ObservedSource:
    """The series in a table without labels, as `load` reads them.

    Raises:
        UserError: As `load`.
    """
    table = table_of(source, "series", "series,t,x", delimiter)
    found = columns.found(table, labelled=False)
    every, times, about = _series(table, found.series, found.time, found.channel)
    single = sum(len(one.t) == 1 for one in every)
    about += f"; {single} series of one time left out" if single else ""
    observed = [Observed(one.t - one.t[0], np.nan_to_num(one.x), ~np.isnan(one.x)) for one in every]
    return ObservedSource(observed, found.channel, times.name, about)


class _Series(NamedTuple):
    """Its name, its rows in the order of time, its times, and its values with NaN for gaps."""

    name: str
    rows: np.ndarray
    t: np.ndarray
    x: np.ndarray

    def place(self, table: Table, index: int) -> str:
        """Where the observation of this number stands in the table."""
        return table.place(int(self.rows[index]))


def _series(
    table: Table, series: str, time: tuple[str, ...], channels: tuple[str, ...]
) -> tuple[list[_Series], Times, str]:
    """The series, the times of all rows, and a summary."""
    names = table.labels(series)
    every = times_of(table, time, names)
    t = every.values
    x = table.values(channels, "channel")
    sorted_rows = {name: np.array(rows)[np.argsort(t[rows], kind="stable")] for name, rows in rows_of(names).items()}
    found = [_Series(name, rows, t[rows], x[rows]) for name, rows in sorted_rows.items()]
    for one in found:
        again = np.flatnonzero(np.diff(one.t) == 0)
        if again.size:
            second = again[0] + 1
            place, written = one.place(table, second), table.text(int(one.rows[second]), *time)
            raise UserError(f"{place}: series {one.name!r} has the time {written} twice: merge the two {table.row}s")
    missing = {"values": float(np.isnan(x).mean())}
    about = summary(f"{len(found)} series", [one.t for one in found], every.unit, {"channel": channels}, missing)
    return found, every, about


def _label(table: Table, series: _Series, labels: list[str]) -> str:
    """The label of a series, which all its rows repeat."""
    first = labels[series.rows[0]]
    for index, row in enumerate(series.rows):
        if labels[row] != first:
            place = series.place(table, index)
            raise UserError(f"{place}: series {series.name!r} has the labels {first!r} and {labels[row]!r}: give one")
    return first


def _targets(source: str, labels: list[str], target: Target) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """The labels as classes with their names, or as numbers."""
    numbers = [number(label) for label in labels]
    bad = next((label for label, x in zip(labels, numbers, strict=True) if x is None or not fits(x)), None)
    all_numbers = [np.nan if x is None else x for x in numbers]
    if target == "number" and bad is not None:
        raise UserError(f"{source}: the label {bad!r} is no finite number: mend it, or give --target class")
    if target == "auto" and bad is not None and any(x is not None and x % 1 for x in numbers):
        raise UserError(
            f"{source}: the label {bad!r} is no finite number, and others are: mend it, or give --target class"
        )
    if target == "number" or (target == "auto" and bad is None and any(x != round(x) for x in all_numbers)):
        return np.array(all_numbers), None
    if bad is None:  # 1 and 1.0 are one class
        first = {}
        labels = [first.setdefault(x, label) for x, label in zip(numbers, labels, strict=True)]
    classes = sorted(set(labels), key=(lambda label: float(label)) if bad is None else None)
    if len(classes) < 2:
        raise UserError(f"{source}: all series have the label {classes[0]!r}: give at least two classes")
    return np.array([classes.index(label) for label in labels], np.int32), tuple(classes)

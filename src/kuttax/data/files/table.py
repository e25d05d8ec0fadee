"""Table: named columns from a file or from an object in Python, read as numbers or labels."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ...errors import UserError
from ...extras import imported
from .cells import Decimal, clock_in, is_empty, number_in, states_date
from .csv_file import read_csv
from .frames import columns_of
from .numbers import TOO_LARGE, fits

_ENDINGS = (".csv", ".tsv", ".txt", ".parquet")
INDEX = "index"
"""The name of an index that has none."""
NO_GAPS = "is {!r}, and may have no gaps: mend the {}"
_DATES = "dates or times, no numbers: leave the column out, or name the columns of values"
_LEVEL = re.compile(r"__index_level_\d+__")  # as pandas writes an index without a name
_NAMELESS = re.compile(r"|Unnamed: \d+")  # as pandas reads it from a CSV file
_SHOWN = 40  # letters of a cell in a message


class Table(NamedTuple):
    """Columns of one length.

    Attributes:
        source: Its name in messages.
        columns: Name -> values: texts, numbers or dates, (rows,).
        lines: The number of each row for messages: the line of a file, or a count from 1.
        row: What such a number counts: "line" or "row".
        decimal: What separates the decimals of numbers in texts.
        index: An index of whole numbers that has no name, (rows,): no column, but perhaps the times.
    """

    source: str
    columns: dict[str, np.ndarray]
    lines: Sequence[int]
    row: str
    decimal: Decimal = "."
    index: np.ndarray | None = None

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return list(self.columns)

    @property
    def choosable(self) -> list[str]:
        """The names that a user may choose: those of the columns, and of an index that is no column."""
        return self.names if self.index is None else [*self.names, INDEX]

    def cells(self, name: str) -> np.ndarray:
        """The values of a column, or of the index."""
        if name == INDEX and name not in self.columns and self.index is not None:
            return self.index
        return self.columns[name]

    def empty(self, name: str) -> list[bool]:
        """Which cells of a column have no value."""
        return [is_empty(value) for value in self.cells(name)]

    def labels(self, name: str) -> list[str]:
        """A column as texts.

        Raises:
            UserError: A cell is empty.
        """
        values = self.columns[name]
        self.refuse([is_empty(value) and str(value).strip().lower() != "none" for value in values], name, NO_GAPS)
        return [str(value).strip() for value in values]

    def numbers(self, name: str, *, gaps: bool = False) -> Float[np.ndarray, " rows"]:
        """A column as float64, NaN where a cell is empty.

        Raises:
            UserError: A cell is no number, infinite or too large, or empty where there may be no gap.
        """
        values = self.cells(name)
        if values.dtype.kind in "mM":
            raise UserError(f"{self.source}: {name} has {_DATES}")
        if values.dtype.kind == "c":
            raise UserError(f"{self.source}: {name} has complex numbers: give real and imaginary parts as two columns")
        found = values if values.dtype.kind in "iuf" else _numbers(values, self.decimal)
        mark = " (the file has decimal commas)" if self.decimal == "," else ""
        missed = [value is None for value in found]
        no_value = lambda cell: states_date(cell) or clock_in(cell) is not None
        dated = [wrong and no_value(cell) for cell, wrong in zip(values, missed, strict=True)]
        self.refuse(dated, name, f"is {{!r}}: these are {_DATES}")
        self.refuse(missed, name, f"is no number but {{!r}}{mark}: mend the {{}}")
        found = found.astype(np.float64)
        self.refuse(np.isinf(found), name, "is {!r}: mend the {}")
        self.refuse(~fits(found) & np.isfinite(found), name, f"= {{}} {TOO_LARGE}: mend the {{}}, or scale the data")
        if not gaps:
            self.refuse(np.isnan(found), name, NO_GAPS)
        return found

    def values(self, names: Sequence[str], what: str) -> Float[np.ndarray, "rows d"]:
        """Columns of numbers side by side, NaN where a cell is empty.

        Args:
            names: Of the columns, at least one.
            what: The word for such a column, for messages.

        Raises:
            UserError: As `numbers`, or all cells of a column are empty.
        """
        found = np.stack([self.numbers(name, gaps=True) for name in names], axis=1)
        for name, column in zip(names, found.T, strict=True):
            if np.isnan(column).all():
                raise UserError(f"{self.source}: {what} {name} is never observed: leave its column out")
        return found

    def text(self, row: int, *names: str) -> str:
        """Cells of a row for a message."""
        found = " ".join(str(self.cells(name)[row]).strip() for name in names)
        return found if len(found) <= _SHOWN else f"{found[:_SHOWN]}..."

    def place(self, row: int) -> str:
        """Where a row is, for a message."""
        return f"{self.source}, {self.row} {self.lines[row]}"

    def refuse(self, bad: Any, name: str, wrong: str) -> None:
        """Refuse the first of these cells; `wrong` has places for its text and for what a row is called."""
        bad = np.asarray(bad)
        if bad.any():
            first = int(np.argmax(bad))
            raise UserError(f"{self.place(first)}: {name} {wrong.format(self.text(first, name), self.row)}")


def rows_of(labels: Sequence[str]) -> dict[str, list[int]]:
    """The rows with each label, in the order in which the labels appear."""
    rows: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        rows.setdefault(label, []).append(row)
    return rows


def _numbers(values: np.ndarray, decimal: Decimal) -> np.ndarray:
    """The numbers in cells, as float64; as objects where a cell states none: None."""
    if (
        decimal == "."
        and values.dtype.kind in "OUb"
        and not any("_" in value for value in values if isinstance(value, str))
    ):
        try:
            return values.astype(np.float64)  # one call for all, where no cell is special
        except (TypeError, ValueError, OverflowError):
            pass
    return np.array([number_in(value, decimal) for value in values], object)


def table_of(
    source: Any, what: str, example: str | None, delimiter: str | None = None, *, also: Sequence[str] = ()
) -> Table:
    """The columns of a CSV or Parquet file (.csv, .tsv, .txt, .parquet), or of a table in Python.

    Args:
        source: The file; or a pandas DataFrame, an xarray Dataset, or a mapping from names to arrays.
        what: What it holds, for messages.
        example: A header, for the message about a file without one; None if a CSV file needs none.
        delimiter: Of a CSV file; None for the one that divides its lines alike.
        also: Endings of other files that the caller reads, for messages.

    Raises:
        UserError: The file cannot be read, has no observations, or has a column twice or without a name; or pyarrow is
            missing; or the source is something else, or its columns differ in length.
    """
    if not isinstance(source, str | Path):
        return _named(type(source).__name__, columns_of(source))
    path, endings = Path(source).expanduser(), (*_ENDINGS, *also)
    if path.suffix.lower() not in endings:
        known = f"{', '.join(endings[:-1])} and {endings[-1]}"
        raise UserError(f"{path}: {what} are read from {known} files: convert it to one of them")
    if not path.is_file():
        raise UserError(f"no file at {path}: name a file of {what}")
    if path.suffix.lower() != ".parquet":
        header, lines, decimal = read_csv(path, example, delimiter)
        numbers, rows = zip(*lines, strict=True)
        columns = list(zip(header, np.array(rows, object).T, strict=True))
        kept = [(name, cells) for name, cells in columns if name or any(cell.strip() for cell in cells)]
        return _named(str(path), kept, numbers, "line", decimal)
    if delimiter is not None:
        raise UserError(f"{path}: a Parquet file has no delimiter: leave it out")
    return _named(str(path), _parquet(path))


def _named(
    source: str,
    columns: Sequence[tuple[str, np.ndarray]],
    lines: Sequence[int] | None = None,
    row: str = "row",
    decimal: Decimal = ".",
) -> Table:
    """The table of these columns, if each has a name of its own, and there are rows. A first one without a name is the
    index."""
    index = None
    if columns and _NAMELESS.fullmatch(columns[0][0]):
        cells, columns = columns[0][1], columns[1:]
        if all(str(cell).strip().isdecimal() for cell in cells):
            index = cells.astype(np.int64)
        else:
            columns = [(INDEX, cells), *columns]
    names = [name for name, _ in columns]
    if "" in names:
        raise UserError(f"{source}: column {names.index('') + 1} has no name: give each column one")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"{source}: column {twice[0]!r} is there twice: give each column a name of its own")
    if not columns or not len(columns[0][1]):
        raise UserError(f"{source}: no observations: give one row for each")
    numbers = range(1, 1 + len(columns[0][1])) if lines is None else lines
    return Table(source, dict(columns), numbers, row, decimal, index)


def _parquet(path: Path) -> list[tuple[str, np.ndarray]]:
    about = {"of": "pyarrow", "extra": "parquet", "needs": f"{path}: a Parquet file", "instead": "give a CSV file"}
    pyarrow, parquet = (imported(name, **about) for name in ("pyarrow", "pyarrow.parquet"))
    try:
        found = parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
    columns = zip(found.column_names, found.columns, strict=True)
    arrays = {name: values.to_numpy(zero_copy_only=False) for name, values in columns}
    levels = [name for name in arrays if _LEVEL.fullmatch(name)]
    if len(levels) == 1:
        return [("", arrays.pop(levels[0])), *arrays.items()]
    return [(name.strip("_"), values) for name, values in arrays.items()]

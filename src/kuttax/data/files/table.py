"""Table: named columns from a file or from an object in Python, read as numbers, labels or times."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from ...errors import UserError
from ...extras import imported
from .csv_file import read_csv
from .numbers import TOO_LARGE, fits, number

GAPS = ("", "na", "n/a", "nan", "null", "none")
"""The texts of a cell without a value, in any case."""

_UNITS = {"d": 86_400, "h": 3600, "min": 60, "s": 1}
"""Units of times, the largest first, in seconds."""
_ENDINGS = (".csv", ".tsv", ".txt", ".parquet")
_NO_GAPS = "is {!r}, and may have no gaps: mend the {}"
_DATES = ("%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S")  # besides ISO 8601


@runtime_checkable
class _Dataset(Protocol):
    """What is used of a Dataset of xarray."""

    def to_dataframe(self) -> Any: ...


@runtime_checkable
class _Frame(Protocol):
    """What is used of a DataFrame of pandas; iteration gives the names of its columns."""

    @property
    def index(self) -> Any: ...
    def reset_index(self) -> Any: ...
    def __iter__(self) -> Any: ...
    def __getitem__(self, name: Any) -> Any: ...


class Table(NamedTuple):
    """Columns of one length.

    Attributes:
        source: Its name in messages.
        columns: Name -> values: texts, numbers or dates, (rows,).
        lines: The number of each row for messages: the line of a file, or a count from 1.
        row: What such a number counts: "line" or "row".
    """

    source: str
    columns: dict[str, np.ndarray]
    lines: Sequence[int]
    row: str

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return list(self.columns)

    def labels(self, name: str) -> list[str]:
        """A column as texts.

        Raises:
            UserError: A cell is empty.
        """
        values = self.columns[name]
        found = ["" if value is None or value != value else str(value).strip() for value in values]
        self._refuse(np.array([text == "" for text in found]), name, _NO_GAPS)
        return found

    def numbers(self, name: str, *, gaps: bool = False) -> Float[np.ndarray, " rows"]:
        """A column as float64, NaN where a cell is empty.

        Raises:
            UserError: A cell is no number, infinite or too large, or empty where there may be no gap.
        """
        values = self.columns[name]
        found = values if values.dtype.kind in "iuf" else np.array([_number(value) for value in values], object)
        self._refuse(np.array([value is None for value in found]), name, "is no number but {!r}: mend the {}")
        found = found.astype(np.float64)
        self._refuse(np.isinf(found), name, "is {!r}: mend the {}")
        self._refuse(~fits(found) & np.isfinite(found), name, f"= {{}} {TOO_LARGE}: mend the {{}}, or scale the data")
        if not gaps:
            self._refuse(np.isnan(found), name, _NO_GAPS)
        return found

    def times(self, name: str, groups: Sequence[str]) -> tuple[Float[np.ndarray, " rows"], str | None]:
        """A column as times, and the unit of dates: these become the time since the first of all, in the largest unit
        that is no larger than the usual gap between two of them. None for numbers, whose unit only the user knows.

        Args:
            name: Of the column.
            groups: The label of each row's trajectory or series, within which gaps are measured.

        Raises:
            UserError: A cell is neither a number nor a date, or there are dates with a time zone and others without.
        """
        values = self.columns[name]
        if values.dtype.kind == "M":
            self._refuse(np.isnat(values), name, _NO_GAPS)
            return _since_first((values - values.min()) / np.timedelta64(1, "s"), groups)
        if values.dtype.kind in "iuf" or _number(values[0]) is not None:
            return self.numbers(name), None
        dates = [_date(str(value).strip()) for value in values]
        self._refuse(
            np.array([date is None for date in dates]), name,
            "is neither a number nor a date but {!r}: mend the {}, or write dates as 2026-12-31 or 2026-12-31T13:00:00",
        )  # fmt: skip
        found = [date for date in dates if date is not None]
        if len({date.tzinfo is None for date in found}) > 1:
            raise UserError(f"{self.source}: {name}: some dates have a time zone and some have none: give all or none")
        return _since_first(
            np.array([(date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() for date in found]), groups
        )

    def _refuse(self, bad: np.ndarray, name: str, wrong: str) -> None:
        """Refuse the first of these cells; `wrong` has places for its text and for what a row is called."""
        if bad.any():
            first = int(np.argmax(bad))
            text = str(self.columns[name][first]).strip()
            raise UserError(f"{self.source}, {self.row} {self.lines[first]}: {name} {wrong.format(text, self.row)}")


def table_of(
    source: Any, what: str, example: str | None, delimiter: str | None = None, *, also: Sequence[str] = ()
) -> Table:
    """The columns of a CSV or Parquet file (.csv, .tsv, .txt, .parquet), or of a table in Python.

    Args:
        source: The file; or a pandas DataFrame, an xarray Dataset, or a mapping from names to arrays.
        what: What it holds, for messages.
        example: A header, for the message about a file without one; None if a CSV file needs none.
        delimiter: Of a CSV file; None for the one that its first line shows.
        also: Endings of other files that the caller reads, for messages.

    Raises:
        UserError: The file cannot be read, has no observations, or has a column twice or without a name; or pyarrow is
            missing; or the source is something else, or its columns differ in length.
    """
    if not isinstance(source, str | Path):
        return _as_table(source)
    path, endings = Path(source).expanduser(), (*_ENDINGS, *also)
    if path.suffix.lower() not in endings:
        known = f"{', '.join(endings[:-1])} and {endings[-1]}"
        raise UserError(f"{path}: {what} are read from {known} files: convert it to one of them")
    if not path.is_file():
        raise UserError(f"no file at {path}: name a file of {what}")
    return _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path, example, delimiter)


def _csv(path: Path, example: str | None, delimiter: str | None) -> Table:
    header, lines = read_csv(path, example, delimiter)
    numbers, rows = zip(*lines, strict=True)
    columns = list(zip(header, np.array(rows, object).T, strict=True))
    columns = [(name, cells) for name, cells in columns if name or any(cell.strip() for cell in cells)]
    names = [name for name, _ in columns]
    if "" in names:
        raise UserError(f"{path}: column {names.index('') + 1} has no name: give each column one")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"{path}: column {twice[0]!r} is there twice: give each column a name of its own")
    return Table(str(path), dict(columns), numbers, "line")


def _as_table(source: Any) -> Table:
    """The columns of an object in Python."""
    if isinstance(source, _Dataset):
        source = source.to_dataframe()
    if isinstance(source, _Frame) and type(source.index).__name__ != "RangeIndex":  # which only counts
        source = source.reset_index()
    if not isinstance(source, Mapping | _Frame):
        raise UserError(f"expected a file, a DataFrame, a Dataset or a mapping of arrays, got {type(source).__name__}")
    columns = {str(name): np.asarray(source[name]) for name in source}
    lengths = {name: values.shape for name, values in columns.items()}
    if not columns or any(len(shape) != 1 for shape in lengths.values()) or len(set(lengths.values())) > 1:
        raise UserError(f"expected columns of one length, got {lengths}")
    return Table(type(source).__name__, columns, range(1, 1 + len(next(iter(columns.values())))), "row")


def _parquet(path: Path) -> Table:
    about = {"of": "pyarrow", "extra": "parquet", "needs": f"{path}: a Parquet file", "instead": "give a CSV file"}
    pyarrow, parquet = (imported(name, **about) for name in ("pyarrow", "pyarrow.parquet"))
    try:
        found = parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
    names = [name for name in found.column_names if not name.startswith("__index_level_")]
    columns = {name: found.column(name).to_numpy(zero_copy_only=False) for name in names}
    if not names or not found.num_rows:
        raise UserError(f"{path}: no observations: give one row for each")
    return Table(str(path), columns, range(1, 1 + found.num_rows), "row")


def _since_first(seconds: Float[np.ndarray, " rows"], groups: Sequence[str]) -> tuple[Float[np.ndarray, " rows"], str]:
    """Times in seconds as times since the first, in a unit that suits the gaps between them, and that unit."""
    group = np.unique(np.array(groups), return_inverse=True)[1]
    order = np.lexsort((seconds, group))
    gaps = np.diff(seconds[order])[np.diff(group[order]) == 0]
    gaps = gaps[gaps > 0]
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    unit, size = next(((unit, size) for unit, size in _UNITS.items() if usual >= size), ("s", 1))
    return (seconds - seconds.min()) / size, unit


def _number(value: Any) -> float | None:
    """The number that a cell states, NaN for an empty one; None if it states none."""
    if isinstance(value, str):
        return np.nan if value.strip().lower() in GAPS else number(value)
    try:
        return np.nan if value is None else float(value)
    except (TypeError, ValueError):
        return None


def _date(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    for form in _DATES:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    return None

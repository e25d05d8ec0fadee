"""Your own table: numbers in a CSV, Parquet, NPY or NPZ file, or in a table in Python."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ...errors import UserError
from ..files.columns import as_names, check_chosen
from ..files.npz import read_npy, read_npz
from ..files.numbers import TOO_LARGE, fits
from ..files.summary import listed
from ..files.table import table_of

KEY = "x"
"""The name of the array in an NPZ file."""

_ARRAYS = (".npy", ".npz")


class OwnTable(NamedTuple):
    """A table, and what it was understood as.

    Attributes:
        x: Finite numbers, one sample a row, float64.
        names: The names of the columns; x1, x2, ... for an array.
        summary: One line: how many rows, and which columns.
    """

    x: Float[np.ndarray, "n d"]
    names: tuple[str, ...]
    summary: str


def load(source: Any, columns: Sequence[str] | str | None = None, delimiter: str | None = None) -> OwnTable:
    """Reads a table of finite numbers, one sample a row.

    Args:
        source: A CSV file (.csv, .tsv, .txt), with or without a line of column names; a Parquet file; an NPY file; an
            NPZ file with an array `x`; or a pandas DataFrame, an xarray Dataset, or a mapping from names to arrays.
        columns: The columns to read, by name; None for all.
        delimiter: Of a CSV file; None for the one that divides its lines alike.

    Raises:
        UserError: If the source cannot be read, is empty, has rows of different length, or holds anything but finite
            numbers; the message names the row and the column.
    """
    path = Path(source).expanduser() if isinstance(source, str | Path) else None
    if path is None or path.suffix.lower() not in _ARRAYS or not path.is_file():
        table = table_of(source, "tables", None, delimiter, also=_ARRAYS)
        chosen = as_names(columns)
        names = tuple(table.names) if chosen is None else chosen
        check_chosen(table.source, table.names, names)
        if not names:
            raise UserError(f"{table.source}: no column is chosen: name at least one")
        return _named(np.stack([table.numbers(name) for name in names], axis=1), names)
    if columns is not None or delimiter is not None:
        raise UserError(f"{path}: an array has no names of columns and no delimiter: give these for a table alone")
    x = _checked(path, read_npy(path) if path.suffix.lower() == ".npy" else read_npz(path, [KEY])[0])
    return _named(x, [f"{KEY}{i + 1}" for i in range(x.shape[1])])


def _named(x: np.ndarray, names: Sequence[str]) -> OwnTable:
    return OwnTable(x, tuple(names), f"{len(x)} rows; {'column' if len(names) == 1 else 'columns'} {listed(names)}")


def _checked(path: Path, table: np.ndarray) -> np.ndarray:
    """An array from a file, if it is a table of finite numbers."""
    if table.ndim != 2 or 0 in table.shape:
        raise UserError(f"{path}: expected a table of shape (n, d), got {table.shape}; give one sample a row")
    if table.dtype.kind not in "fiu":
        raise UserError(f"{path}: expected numbers, got {table.dtype}; leave text and other columns out")
    table = table.astype(np.float64)
    broken = np.argwhere(~np.isfinite(table))
    if broken.size:
        row, column = broken[0] + 1
        raise UserError(f"{path}: NaN or infinity in row {row}, column {column}; remove the row or fill it in")
    large = np.argwhere(~fits(table))
    if large.size:
        row, column = large[0] + 1
        raise UserError(f"{path}: row {row}, column {column}: {table[row - 1, column - 1]:g} {TOO_LARGE}; scale it")
    return table

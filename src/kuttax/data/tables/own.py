"""Your own table: numbers in a CSV, NPY or NPZ file."""

import csv
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ...errors import UserError
from ..files.npz import read_npy, read_npz
from ..files.numbers import TOO_LARGE, fits, number

KEY = "x"
"""The name of the array in an NPZ file."""


def read_table(path: str | Path) -> Float[np.ndarray, "n d"]:
    """Reads a table of finite numbers, one sample a row.

    Args:
        path: A CSV file, with or without a line of column names; an NPY file; or an NPZ file with an array `x`.

    Returns:
        A float64 array of shape `(n, d)`.

    Raises:
        UserError: If the file cannot be read, is empty, has rows of different length, or holds anything but finite
            numbers; the message names the line and the column.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a CSV, NPY or NPZ file")
    match path.suffix.lower():
        case ".npz":
            table = read_npz(path, [KEY])[0]
        case ".npy":
            table = read_npy(path)
        case _:
            return _read_csv(path)
    return _checked(path, table)


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


def _read_csv(path: Path) -> np.ndarray:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [(i, row) for i, row in enumerate(csv.reader(file), start=1) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a readable CSV file ({' '.join(str(error).split())})") from error
    if lines and all(number(cell) is None for cell in lines[0][1]):
        lines = lines[1:]
    if not lines:
        raise UserError(f"{path}: no rows of numbers; give at least one sample a row")
    width = len(lines[0][1])
    return np.array([_row(path, line, row, width) for line, row in lines])


def _row(path: Path, line: int, row: list[str], width: int) -> list[float]:
    if len(row) != width:
        raise UserError(f"{path}: line {line} has {len(row)} columns, the first row {width}; give every row as many")
    numbers = []
    for column, cell in enumerate(row, start=1):
        value = number(cell)
        if value is None or not fits(value):
            what = f"{cell.strip()!r} is no number" if value is None else "NaN or infinity"
            what = f"{cell.strip()} {TOO_LARGE}" if value is not None and np.isfinite(value) else what
            raise UserError(f"{path}: line {line}, column {column}: {what}; remove the row or column, or fill it in")
        numbers.append(value)
    return numbers

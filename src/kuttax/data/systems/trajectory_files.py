"""Trajectories from a user's own CSV, Parquet or NPZ file, or from a table in Python."""

import itertools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...errors import UserError
from ..files.npz import read_arrays
from ..files.table import Table, rows_of, table_of
from ..files.times import times_of
from .columns import USUAL, Columns
from .trajectory import Source, Trajectory, check_trajectories

_NPZ = ".npz"


class Recorded(NamedTuple):
    """Trajectories, and what their source calls them.

    Attributes:
        trajectories: At least one.
        source: The names of its columns, and a summary.
    """

    trajectories: list[Trajectory]
    source: Source


def load(source: Any, columns: Columns = USUAL, delimiter: str | None = None) -> Recorded:
    """The trajectories in a file or a table.

    CSV (.csv, .tsv, .txt) and Parquet: one observation a row, columns in any order. Dates become the time since
    the first of all. An empty cell of a state is a missing observation.

    NPZ: arrays `t`, `x` and optionally `u`, either of one trajectory (or several, told apart by an array `trajectory`):
    (rows,), (rows, d), (rows, k); or of several of one length: t (rows,) or (n, rows), x (n, rows, d), u (n, rows, k).

    Args:
        source: The file; or a pandas DataFrame, an xarray Dataset, or a mapping from names to arrays.
        columns: Which columns are what; for an NPZ file the default.
        delimiter: Of a CSV file; None for the one that divides its lines alike.

    Raises:
        UserError: The source cannot be read, or not as trajectories; the message names the place.
    """
    path = Path(source).expanduser() if isinstance(source, str | Path) else None
    if path is None or path.suffix.lower() != _NPZ or not path.is_file():
        return _from_table(table_of(source, "trajectories", "t,x1,x2", delimiter, also=(_NPZ,)), columns)
    if columns != USUAL or delimiter is not None:
        raise UserError(f"{path}: an NPZ file has arrays t, x, u and trajectory: columns and delimiter are for tables")
    names, found = _from_npz(path)
    check_trajectories(found, [f"{path}: {name}" if name else str(path) for name in names])
    numbered = lambda letter, count: tuple(f"{letter}{i + 1}" for i in range(count))
    known = Source("time", numbered("x", found[0].x.shape[1]), numbered("u", found[0].u.shape[1]))
    return Recorded(found, known.of(found))


def _from_table(table: Table, columns: Columns) -> Recorded:
    found = columns.found(table)
    labels = [""] * len(table.lines) if found.trajectory is None else table.labels(found.trajectory)
    times = times_of(table, found.time, labels)
    t = times.values
    x = table.values(found.state, "state")
    u = np.stack([table.numbers(name) for name in found.control], 1) if found.control else np.zeros((len(t), 0))
    _check_order(table, found.time, labels, t)
    names, trajectories = _grouped(labels, t, x, u)
    check_trajectories(trajectories, [f"{table.source}: {name}" if name else table.source for name in names])
    known = Source(times.name, found.state, found.control)
    return Recorded(trajectories, known.of(trajectories))


def _check_order(table: Table, time: tuple[str, ...], labels: list[str], t: np.ndarray) -> None:
    """Refuses times that do not increase, by their lines."""
    for rows in rows_of(labels).values():
        for before, row in itertools.pairwise(rows):
            if t[row] <= t[before]:
                text = table.text(row, *time)
                wrong = "is there twice" if t[row] == t[before] else f"comes after {table.text(before, *time)}"
                again = f"times must increase strictly, but {text} {wrong}: sort the rows, and keep one for each time"
                raise UserError(f"{table.place(row)}: {again}")


def _grouped(labels: list[str], t: np.ndarray, x: np.ndarray, u: np.ndarray) -> tuple[list[str], list[Trajectory]]:
    """The trajectories in the order in which their labels appear, and what to call them."""
    rows = rows_of(labels)
    names = [f"trajectory {label}" if label else "" for label in rows]
    return names, [Trajectory(t[i], x[i], u[i]) for i in rows.values()]


def _from_npz(path: Path) -> tuple[list[str], list[Trajectory]]:
    arrays = read_arrays(path, ("t", "x"), ("u", "trajectory"))
    for name, array in arrays.items():
        if name != "trajectory" and array.dtype.kind not in "iuf":
            raise UserError(f"{path}: {name} has dtype {array.dtype}, expected real numbers")
    t, x = (arrays[name].astype(np.float64) for name in "tx")
    if x.ndim not in (2, 3):
        raise UserError(f"{path}: x has shape {x.shape}, expected (rows, d) or (trajectories, rows, d)")
    u = arrays["u"].astype(np.float64) if "u" in arrays else np.zeros((*x.shape[:-1], 0))
    if x.ndim == 3 and t.ndim == 1:
        t = np.broadcast_to(t, (len(x), len(t)))
    for name, agrees in (("t", t.shape == x.shape[:-1]), ("u", u.ndim == x.ndim and u.shape[:-1] == x.shape[:-1])):
        if not agrees:
            raise UserError(f"{path}: {name} has shape {arrays[name].shape}, which does not go with x {x.shape}")
    if x.ndim == 3:
        names = [f"trajectory {i + 1}" for i in range(len(x))]
        return names, [Trajectory(t[i], x[i], u[i]) for i in range(len(x))]
    labels = arrays.get("trajectory")
    if labels is None:
        return [""], [Trajectory(t, x, u)]
    if labels.shape != t.shape:
        raise UserError(f"{path}: trajectory has shape {labels.shape}, expected {t.shape}: one label a row")
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise UserError(f"{path}: trajectory is NaN in row {np.argmax(np.isnan(labels)) + 1}: give each row a label")
    return _grouped([str(label) for label in labels], t, x, u)

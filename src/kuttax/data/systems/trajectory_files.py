"""Trajectories from a user's own CSV or NPZ file."""

import re
from pathlib import Path

import numpy as np

from ...errors import UserError
from ..files.csv_file import read_csv
from ..files.npz import read_arrays
from ..files.numbers import TOO_LARGE, fits, number
from .trajectory import Trajectory, check_trajectories


def load(path: Path) -> list[Trajectory]:
    """The trajectories in a file.

    CSV: a header line, then one observation a line. Columns `t`, `x1` to `xd`, optionally control inputs `u1` to `uk`,
    and `trajectory`, any label, where there are several; their order is free.

    NPZ: arrays `t`, `x` and optionally `u`, either of one trajectory (or several, told apart by an array `trajectory`):
    (rows,), (rows, d), (rows, k); or of several of one length: t (rows,) or (n, rows), x (n, rows, d), u (n, rows, k).

    Raises:
        UserError: The file cannot be read, or not as trajectories; the message names the place.
    """
    if path.suffix.lower() not in (".csv", ".npz"):
        raise UserError(f"{path}: trajectories are read from .csv and .npz files: convert it to one of them")
    if not path.is_file():
        raise UserError(f"no file at {path}: name a CSV or NPZ file of trajectories")
    names, found = _from_csv(path) if path.suffix.lower() == ".csv" else _from_npz(path)
    check_trajectories(found, [f"{path}: {name}" if name else str(path) for name in names])
    return found


def _from_csv(path: Path) -> tuple[list[str], list[Trajectory]]:
    header, lines = read_csv(path, "t,x1,x2")
    states, controls = _columns(path, header)
    labels, numbers = [], []
    for line, row in lines:
        labels.append(row[header.index("trajectory")].strip() if "trajectory" in header else "")
        numbers.append([_number(path, line, name, text) for name, text in zip(header, row, strict=True)])
    table = np.array(numbers)
    x, u = ([header.index(name) for name in names] for names in (states, controls))
    return _grouped(labels, table[:, header.index("t")], table[:, x], table[:, u])


def _columns(path: Path, header: list[str]) -> tuple[list[str], list[str]]:
    """The names of the columns of states and of control inputs, x1, x2, ... and u1, u2, ..."""
    expected = "the columns are t, x1, x2, ..., optionally u1, u2, ... and trajectory"
    unknown = [name for name in header if not re.fullmatch(r"t|trajectory|[xu][1-9]\d*", name)]
    if unknown:
        raise UserError(f"{path}: unknown column {unknown[0]!r} in the header line: {expected}")
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise UserError(f"{path}: column {twice[0]!r} is there twice: {expected}")
    kinds = []
    for letter in "xu":
        count = sum(name.startswith(letter) for name in header)
        kinds.append([f"{letter}{i + 1}" for i in range(count)])
    missing = [name for name in ("t", "x1", *kinds[0], *kinds[1]) if name not in header]
    if missing:
        raise UserError(f"{path}: column {missing[0]!r} is missing: {expected}")
    return kinds[0], kinds[1]


def _number(path: Path, line: int, column: str, text: str) -> float:
    if column == "trajectory":
        return 0.0
    value = number(text)
    if value is None:
        raise UserError(f"{path}, line {line}: {column} is no number but {text!r}: mend the line")
    if np.isfinite(value) and not fits(value):
        raise UserError(f"{path}, line {line}: {column} = {text.strip()} {TOO_LARGE}: mend the line, or scale the data")
    return value


def _grouped(labels: list[str], t: np.ndarray, x: np.ndarray, u: np.ndarray) -> tuple[list[str], list[Trajectory]]:
    """The trajectories in the order in which their labels appear, and what to call them."""
    rows: dict[str, list[int]] = {}
    for i, label in enumerate(labels):
        rows.setdefault(label, []).append(i)
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
    return _grouped([str(label) for label in labels], t, x, u)

"""Points: samples of a distribution, and the change of log-density by their preprocessing."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ...errors import UserError
from ..dataset import Dataset, check_dataset
from ..files.numbers import TOO_LARGE, fits
from ..splits import split_off


class Points(NamedTuple):
    """Samples along the first axis of both fields; a slice of it is a batch.

    Attributes:
        x: The model's input, shape `(n, d)`, floating point.
        log_det: log |det dx/dy| of the map from the reported variable y to x, shape `(n,)`: the log-density of y is
            that of x plus this. Zero if x itself is reported.
    """

    x: Any
    log_det: Any


class PointSplits(NamedTuple):
    """Three disjoint sets: for fitting, for choices, and for the report."""

    train: Points
    validation: Points
    test: Points


class Standardised(NamedTuple):
    """Standardised points, and what was taken from the columns.

    Attributes:
        splits: The points.
        mean, sd: The mean and the standard deviation of each column, in the units of the data.
    """

    splits: PointSplits
    mean: Float[np.ndarray, " d"]
    sd: Float[np.ndarray, " d"]


class PointSource(NamedTuple):
    """What is known of the source of standardised points.

    Attributes:
        names: The names of its columns.
        mean, sd: Their means and standard deviations, which were taken out, in the units of the data.
        summary: What a user's data were understood as, in a line.
    """

    names: tuple[str, ...]
    mean: Float[np.ndarray, " d"]
    sd: Float[np.ndarray, " d"]
    summary: str = ""


def points(name: str, x: Float[np.ndarray, "n d"], log_det: Float[np.ndarray, " n"] | None = None) -> Points:
    """`x` as float32 points; `log_det` is zero if left out.

    Args:
        name: Their name in messages.
        x: Shape `(n, d)`.
        log_det: Shape `(n,)`.

    Raises:
        UserError: If `x` is no table, is empty, or an entry is not finite as float32.
    """
    x = np.asarray(x)
    if x.ndim != 2 or x.shape[1] == 0:
        raise UserError(f"{name}: expected a table of shape (n, d), got {x.shape}; give rows of numbers")
    if x.dtype.kind not in "fiu":
        raise UserError(f"{name}: expected numbers, got {x.dtype}; leave text and other columns out")
    added = np.zeros(len(x)) if log_det is None else log_det
    x, added = check_dataset(name, Dataset(x, added))
    large = np.argwhere(~fits(x))
    if large.size:
        row, column = large[0]
        raise UserError(f"{name}: {x[row, column]:g} in row {row}, column {column} {TOO_LARGE}; scale the column")
    return Points(x.astype(np.float32), added.astype(np.float32))


def split(x: Float[np.ndarray, "n d"], fraction: float, seed: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The rest of the rows, and the fraction of them that is split off at random.

    Raises:
        UserError: If the fraction is outside (0, 1), or leaves a part without rows.
    """
    rest, part = split_off(Dataset(x, np.zeros(len(x))), fraction, seed, name=name)
    return rest.x, part.x


def standardised(name: str, train: np.ndarray, validation: np.ndarray, test: np.ndarray) -> Standardised:
    """The three parts, each column less its mean and over its standard deviation in training and validation data.

    Log-densities are of the standardised columns, as in the literature (Papamakarios et al., NeurIPS 2017).

    Raises:
        UserError: If a column is constant, or an entry is not finite.
    """
    named = dict(zip(PointSplits._fields, (train, validation, test), strict=True))
    for part, x in named.items():
        points(f"{name}, {part}", x)  # says what is wrong with it
    seen = np.concatenate([train, validation]).astype(np.float64)
    mean, sd = seen.mean(axis=0), seen.std(axis=0)
    constant = np.flatnonzero(sd <= 1e-12 * np.maximum(1, np.abs(mean)))
    if constant.size:
        raise UserError(f"{name}: column {constant[0] + 1} is constant and has no density; leave it out")
    return Standardised(PointSplits(*(points(name, (x - mean) / sd) for x in named.values())), mean, sd)

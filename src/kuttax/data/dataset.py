"""Inputs and their targets."""

from typing import Any, NamedTuple

import numpy as np

from ..errors import UserError


class Dataset(NamedTuple):
    """Samples along the first axis of both fields; a slice of it is a batch.

    Attributes:
        x: Inputs, shape `(n, ...)`, floating point.
        y: Targets, shape `(n, ...)`: class numbers as int32 for classification.
    """

    x: Any
    y: Any


def check_dataset(name: str, dataset: Dataset) -> Dataset:
    """Returns `dataset` as NumPy arrays if it is valid for training.

    Args:
        name: Its name in messages: "train", or a path.
        dataset: The inputs and targets.

    Raises:
        UserError: It is empty, inputs and targets differ in number, or a floating-point entry is not finite.
    """
    x, y = np.asarray(dataset.x), np.asarray(dataset.y)
    for field, array in (("x", x), ("y", y)):
        if array.ndim == 0 or len(array) == 0:
            raise UserError(f"{name}: {field} has shape {array.shape}, without samples; give it at least one row")
        _check_finite(f"{name}: {field}", array)
    if len(x) != len(y):
        raise UserError(f"{name}: x has {len(x)} rows and y has {len(y)}; give one target for each input")
    return Dataset(x, y)


def _check_finite(name: str, array: np.ndarray) -> None:
    if not np.issubdtype(array.dtype, np.inexact):
        return
    finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if not finite.all():
        rows = np.flatnonzero(~finite)
        raise UserError(
            f"{name} holds NaN or infinity in row {rows[0]} ({len(rows)} of {len(array)} rows); "
            "remove these rows or fill in their values"
        )

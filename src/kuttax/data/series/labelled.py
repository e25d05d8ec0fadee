"""Labelled: irregular time series of different lengths, each with one class or number to predict."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Real

from ...errors import UserError
from ..dataset import Dataset
from ..files.numbers import TOO_LARGE, fits
from ..splits import split_off


class Labelled(NamedTuple):
    """Time series with one label each; a slice of all fields is a part of them.

    Attributes:
        values: NaN where a channel was not observed, and after a series' end, `(n, longest, channels)`, float64.
        times: Increasing in each series, in any unit and from any origin; NaN after its end, `(n, longest)`, float64.
        y: Class numbers from 0, integers, or numbers to predict, float64, `(n,)`.
    """

    values: Any
    times: Any
    y: Any


class LabelledSplits(NamedTuple):
    """Labelled series for training, for choices and for the report.

    Attributes:
        train, validation, test: The series.
        names: The names of the channels.
        classes: The names of the classes; None for numbers to predict.
        summary: What a user's data were understood as, in a line.
    """

    train: Labelled
    validation: Labelled
    test: Labelled
    names: tuple[str, ...]
    classes: tuple[str, ...] | None
    summary: str = ""


def padded(
    times: Sequence[Real[np.ndarray, " length"]], values: Sequence[Real[np.ndarray, "length d"]], y: Any
) -> Labelled:
    """Series of different lengths, padded with NaN to the longest.

    Args:
        times, values: Of each series.
        y: Its class or number.
    """
    longest, channels = max(map(len, times)), values[0].shape[1]
    data = Labelled(
        np.full((len(times), longest, channels), np.nan), np.full((len(times), longest), np.nan), np.asarray(y)
    )
    for row, (t, x) in enumerate(zip(times, values, strict=True)):
        data.times[row, : len(t)], data.values[row, : len(t)] = t, x
    return data


def lengths(data: Labelled) -> Int[np.ndarray, " n"]:
    """The number of times of each series."""
    return np.isfinite(data.times).sum(axis=1)


def check_labelled(name: str, data: Labelled) -> Labelled:
    """The series, if they are valid: floating-point values and times as float64.

    Args:
        name: Their name in messages.
        data: See `Labelled`.

    Raises:
        UserError: Shapes do not agree, a series has no time or its times do not increase, a number is infinite or too
            large, or a label is no class number and not finite.
    """
    values, times = (np.asarray(x, np.float64) for x in (data.values, data.times))
    y = np.asarray(data.y)
    if values.ndim != 3 or 0 in values.shape or times.shape != values.shape[:2] or y.shape != times.shape[:1]:
        raise UserError(
            f"{name}: expected values (n, longest, channels), times (n, longest) and labels (n,), got "
            f"{values.shape}, {times.shape} and {y.shape}"
        )
    whole = y.dtype.kind in "iu"
    if (whole and y.min() < 0) or not (whole or (y.dtype.kind == "f" and np.all(fits(y)))):
        raise UserError(f"{name}: labels are class numbers from 0 or finite numbers, got {y.dtype} {y[:3]}")
    there = np.isfinite(times)
    for row, (t, x, now) in enumerate(zip(times, values, there, strict=True)):
        count = int(now.sum())
        if not count or not now[:count].all() or not np.isnan(t[count:]).all() or not np.all(np.diff(t[:count]) > 0):
            raise UserError(f"{name}: series {row} needs increasing finite times, and NaN only after its end: sort it")
        if not np.all(fits(x[:count]) | np.isnan(x[:count])):
            raise UserError(f"{name}: series {row} has a value that is infinite or {TOO_LARGE}: use NaN for a gap")
    return Labelled(np.where(there[:, :, None], values, np.nan), times, y)


def hold_out(data: Labelled, share: float, seed: int, name: str) -> tuple[Labelled, Labelled]:
    """The series without some of them, and these; classes keep their shares.

    Args:
        data: The series.
        share: The part to hold out, in (0, 1).
        seed: Draws which series.
        name: The share's name in messages.

    Raises:
        UserError: As `kuttax.data.split_off`.
    """
    kept, held = split_off(Dataset(np.arange(len(data.y)), data.y), share, seed, name=name)
    rest, part = (Labelled(*(array[rows.x] for array in data)) for rows in (kept, held))
    return rest, part


def split_series(
    data: Labelled, names: Sequence[str], classes: Sequence[str] | None, held_out: float, seed: int
) -> LabelledSplits:
    """Series without an official test part, split into three.

    Args:
        data: All series.
        names, classes: As of `LabelledSplits`.
        held_out: The share for validation, and the same share for testing, in (0, 0.5).
        seed: Draws which series are held out.

    Raises:
        UserError: A share or a class leaves a part without series.
    """
    rest, test = hold_out(data, held_out, seed, "held_out")
    train, validation = hold_out(rest, held_out / (1 - held_out), seed + 1, "held_out")
    return LabelledSplits(train, validation, test, tuple(names), None if classes is None else tuple(classes))


def durations(data: Labelled) -> Float[np.ndarray, " n"]:
    """The time from the first to the last observation of each series."""
    return np.nanmax(data.times, axis=1) - np.nanmin(data.times, axis=1)

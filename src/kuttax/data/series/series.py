"""Series: irregularly observed time series on a common grid of rounded times."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Real

from ...errors import UserError
from ..files.numbers import TOO_LARGE, fits

_MOST_INTERVALS = 500  # of a grid that is not asked for


class Observed(NamedTuple):
    """One time series as recorded.

    Attributes:
        t: Times, at least 0, in any order; a time may occur twice.
        x: Values of the features at these times.
        mask: Which of them were observed; the others may have any value.
    """

    t: Real[np.ndarray, " times"]
    x: Float[np.ndarray, "times d"]
    mask: Bool[np.ndarray, "times d"]


class Series(NamedTuple):
    """Time series, each at its own observation times, padded to one length with masked times.

    Attributes:
        index: The index of each time on the common grid, increasing, `(n, length)`, int32.
        x: Values, zero if not observed, `(n, length, d)`, float32.
        mask: Which values were observed, `(n, length, d)`, bool.
        seen: The times that a model sees, `(n, length)`, bool. The others are held out.
    """

    index: Any
    x: Any
    mask: Any
    seen: Any


class SeriesSplits(NamedTuple):
    """Time series for training, for choices and for the report.

    Attributes:
        train, validation, test: The series.
        times: The grid: from 0 to the last time, equally spaced, `(grid,)`.
        names: The names of the features.
        share: The approximate share of each series' times that is shown.
        unit: The length of one unit of the grid's time in the unit of the recorded times.
        low, high: The values of each feature that are stored as 0 and 1, `(d,)`.
        time: The name of the recorded times, with their unit in brackets if it is known.
        summary: What a user's data were understood as, in a line.
    """

    train: Series
    validation: Series
    test: Series
    times: Float[np.ndarray, " grid"]
    names: tuple[str, ...]
    share: float = 1.0
    unit: float = 1.0
    low: Float[np.ndarray, " d"] | float = 0.0
    high: Float[np.ndarray, " d"] | float = 1.0
    time: str = "time"
    summary: str = ""


def on_grid(observed: Iterable[Observed], rounding: float, span: float) -> Series:
    """The series with their times rounded to multiples of `rounding`, as in Rubanova et al. (NeurIPS 2019).

    Values of one feature at the same rounded time are replaced by their mean. All times are shown. A series with fewer
    than two rounded times is left out: nothing of it could be held out.

    Args:
        observed: The recorded series; they are read one at a time.
        rounding: The interval of the grid.
        span: The last time of the grid, a multiple of `rounding`.

    Raises:
        UserError: A time lies outside of the grid, a value is not finite, or no series is left.
    """
    rounded = (_rounded(one, number, rounding, span) for number, one in enumerate(observed))
    kept = [one for one in rounded if len(one.t) > 1]
    if not kept:
        raise UserError("no series is left with two different times: look at the data, or round times less")
    length, d = max(len(one.t) for one in kept), kept[0].x.shape[1]
    last = round(span / rounding)
    series = Series(
        np.full((len(kept), length), last, np.int32),
        np.zeros((len(kept), length, d), np.float32),
        np.zeros((len(kept), length, d), bool),
        np.zeros((len(kept), length), bool),
    )
    for row, one in enumerate(kept):
        size = len(one.t)
        for array, value in zip(series, (one.t, one.x, one.mask, True), strict=True):
            array[row, :size] = value
    return series


def natural_grid(observed: Sequence[Observed], rounding: float | None = None) -> tuple[float, float]:
    """The interval of a grid for these series, and its last time.

    Args:
        observed: The recorded series.
        rounding: The interval; None for the least gap between two times of a series, if 500 of it cover the longest
            series, else for the least of 1, 2 or 5 times a power of ten for which they do.

    Raises:
        UserError: No series has two times.
    """
    times = [np.unique(one.t) for one in observed]
    longest = max((t[-1] - t[0] for t in times if len(t)), default=0.0)
    if not longest > 0:
        raise UserError("no series has two different times: there is nothing to predict")
    if rounding is None:
        least, coarse = float(min(np.diff(t).min() for t in times if len(t) > 1)), float(longest) / _MOST_INTERVALS
        rounding = least if least >= coarse * (1 - 1e-9) else _round(coarse)
    last = max(t[-1] for t in times if len(t))
    return float(rounding), float(rounding * np.ceil(last / rounding - 1e-6))


def _round(least: float) -> float:
    """The least of 1, 2 or 5 times a power of ten that is not below a number."""
    power = 10.0 ** np.floor(np.log10(least))
    return power * next(k for k in (1, 2, 5, 10) if k * power >= least * (1 - 1e-9))


def _rounded(one: Observed, number: int, rounding: float, span: float) -> Observed:
    """A series with grid indices as times, each once, without times at which nothing was observed."""
    if not np.all(np.isfinite(one.x[one.mask])):
        raise UserError(f"series {number} holds NaN or infinity: mask it out")
    if not np.all(fits(one.x[one.mask])):
        raise UserError(f"series {number} holds a number that {TOO_LARGE}: mask it out")
    some = one.mask.any(axis=1)
    t, x, mask = one.t[some], np.where(one.mask, one.x, 0.0)[some], one.mask[some]
    index, place = np.unique(np.rint(t / rounding).astype(int), return_inverse=True)
    if len(index) and (index[0] < 0 or index[-1] > round(span / rounding)):
        raise UserError(f"series {number} has a time outside of 0 to {span:g}, {t.min():g} to {t.max():g}")
    order = np.argsort(place, kind="stable")
    first = np.searchsorted(place[order], np.arange(len(index)))
    total, count = (np.add.reduceat(array[order], first, axis=0, dtype=float) for array in (x, mask))
    return Observed(index, total / np.maximum(count, 1), count > 0)


def hide(series: Series, share: float, seed: int) -> Series:
    """The series with about this share of each one's times shown, at least one, and at least one held out.

    Args:
        series: With all times shown.
        share: In (0, 1]; 1 shows all.
        seed: Draws the shown times.

    Raises:
        UserError: `share` is out of its range.
    """
    if not 0 < share <= 1:
        raise UserError(f"the observed share must lie in (0, 1], got {share}")
    if share == 1:
        return series
    rng, there = np.random.default_rng(seed), series.mask.any(axis=2)
    counts = there.sum(axis=1)
    shown = np.clip(np.rint(share * counts), 1, counts - 1)
    drawn = np.where(there, rng.random(there.shape), np.inf)
    ranks = np.argsort(np.argsort(drawn, axis=1), axis=1)
    return series._replace(seen=there & (ranks < shown[:, None]))


def split(
    observed: Iterable[Observed],
    names: Sequence[str],
    *,
    rounding: float | None = None,
    span: float | None = None,
    share: float,
    held_out: float,
    seed: int,
    scaled: bool = False,
) -> SeriesSplits:
    """Split whole series into training, validation and test parts, and hold out times of each series.

    Args:
        observed: The recorded series.
        names: The names of the features.
        rounding: The grid's interval, see `on_grid`; None for that of `natural_grid`.
        span: Its end; None for the last time, rounded up.
        share: The share of each series' times that is shown, see `hide`.
        held_out: Share of the series for each of validation and test, in (0, 0.5).
        seed: Draws the series of each part, and the shown times.
        scaled: Map the span of time, and the shown training values of each feature, to 0 to 1, as in Rubanova et al.'s
            code: a field in hours would have to be small.

    Raises:
        UserError: As `on_grid` and `hide`; or a share leaves a part without series.
    """
    if not 0 < held_out < 0.5:
        raise UserError(f"held_out must lie in (0, 0.5), got {held_out}")
    if rounding is None or span is None:
        observed = list(observed)
        rounding, last = natural_grid(observed, rounding)
        span = last if span is None else span
    if not 0 < rounding <= span or abs(span / rounding - round(span / rounding)) > 1e-6:
        raise UserError(f"rounding must divide the time span {span:g}, got {rounding:g}")
    whole = hide(on_grid(observed, rounding, span), share, seed)
    n = len(whole.index)
    count = max(1, round(held_out * n))
    if n < 2 * count + 1:
        raise UserError(f"{n} series cannot be split into three parts: give more")
    order = np.random.default_rng([seed, 1]).permutation(n)
    rows = np.sort(order[2 * count :]), np.sort(order[:count]), np.sort(order[count : 2 * count])
    low, high = _range(Series(*(array[rows[0]] for array in whole))) if scaled else (0.0, 1.0)
    x = (whole.x - low) / (high - low)
    whole = whole._replace(x=np.where(whole.mask, x, 0).astype(np.float32))
    train, validation, test = (Series(*(array[part] for array in whole)) for part in rows)
    times = np.linspace(0.0, 1.0 if scaled else span, round(span / rounding) + 1)
    return SeriesSplits(train, validation, test, times, tuple(names), share, span / times[-1], low, high)


def _range(series: Series) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest value of each feature; one apart if it is constant, 0 and 1 if there is none."""
    low = np.where(series.mask, series.x, np.inf).min(axis=(0, 1))
    high = np.where(series.mask, series.x, -np.inf).max(axis=(0, 1))
    low = np.where(np.isfinite(low), low, 0)
    return low, np.where(high > low, high, low + 1)

"""Windows: standardised pieces of trajectories of one length, for training and evaluation."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ...errors import UserError
from .trajectory import Trajectory

SHUFFLED = 3
"""From this number of trajectories on, the parts of the data are whole trajectories, drawn at random."""


class Course(NamedTuple):
    """The observation times and control inputs of windows, interval by interval.

    Attributes:
        gap: The time from each observation to the next, (n, intervals), in mean intervals of the training data.
        u: Control inputs at the start of each interval, (n, intervals, k), standardised.
        u_next: The same at its end.
    """

    gap: Any
    u: Any
    u_next: Any


class Windows(NamedTuple):
    """n windows.

    Attributes:
        number: The index of each window, from 0, (n,).
        z: The states, (n, times, d), standardised; NaN where an observation is missing, but not at the start.
        course: Their times and control inputs; None if times are equally spaced and there are no control inputs.
        past: The last observations up to the first of the window, states and control inputs, (n, memory + 1, d + k);
            None if they are not asked for.
    """

    number: Any
    z: Any
    course: Course | None
    past: Any = None


class Scaling(NamedTuple):
    """The standardisation of the data, computed from the training trajectories.

    Attributes:
        interval: The mean interval between observations, in the data's unit of time.
        mean, std: Mean and standard deviation of each component of the state; a constant component has std 1.
        u_mean, u_std: The same for each control input.
        speed: The root mean square change of each standardised component in one interval.
    """

    interval: float
    mean: Float[np.ndarray, " d"]
    std: Float[np.ndarray, " d"]
    u_mean: Float[np.ndarray, " k"]
    u_std: Float[np.ndarray, " k"]
    speed: Float[np.ndarray, " d"]

    @classmethod
    def of(cls, trajectories: Sequence[Trajectory]) -> "Scaling":
        """The scaling of the training trajectories."""
        interval = float(np.concatenate([np.diff(one.t) for one in trajectories]).mean())
        mean, std = _moments(np.concatenate([one.x for one in trajectories]))
        rates = [np.diff(one.x, axis=0) / std / np.diff(one.t)[:, None] for one in trajectories]
        speed = interval * np.sqrt(observed_mean(np.concatenate(rates) ** 2))
        speed = np.where(speed > 0, speed, 1.0)
        return cls(interval, mean, std, *_moments(np.concatenate([one.u for one in trajectories])), speed)

    def with_hidden(self, hidden: int) -> "Scaling":
        """The scaling of states with this many further components, which are not observed and already standardised."""
        more = lambda x, value: np.concatenate([x, np.full(hidden, value)])
        speed = float(np.sqrt(np.mean(self.speed**2)))
        return self._replace(mean=more(self.mean, 0.0), std=more(self.std, 1.0), speed=more(self.speed, speed))

    def standardised(self, x: np.ndarray) -> np.ndarray:
        """States in units of their standard deviations around their means."""
        return (x - self.mean) / self.std


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = observed_mean(x)
    std = np.sqrt(observed_mean((x - mean) ** 2))
    return mean, np.where(std > 0, std, 1.0)


def observed_mean(x: np.ndarray, axes: tuple[int, ...] = (0,)) -> np.ndarray:
    """The mean over these axes of what is observed, which is all but NaN; 0 where nothing is."""
    seen = ~np.isnan(x)
    return np.where(seen, x, 0.0).sum(axis=axes) / np.maximum(seen.sum(axis=axes), 1)


class TrajectorySplits(NamedTuple):
    """Trajectories, or pieces of them, for training, for choices and for the report."""

    train: list[Trajectory]
    validation: list[Trajectory]
    test: list[Trajectory]


def split_trajectories(trajectories: Sequence[Trajectory], fraction: float, seed: int) -> TrajectorySplits:
    """Split by trajectory, at random, if there are at least three; else by time, the last piece of each for the test.

    Args:
        trajectories: At least one.
        fraction: The share of the validation part, and that of the test part, in (0, 0.5).
        seed: Draws the trajectories of each part.

    Raises:
        UserError: The fraction is out of range, or the pieces of a trajectory get fewer than two rows.
    """
    if not 0 < fraction < 0.5:
        raise UserError(f"held_out must lie in (0, 0.5), got {fraction}: it is taken twice, to validate and to test")
    n = len(trajectories)
    if n >= SHUFFLED:
        held = max(1, round(fraction * n))
        order = np.random.default_rng(seed).permutation(n)
        ends = (order[2 * held :], order[held : 2 * held], order[:held])
        return TrajectorySplits(*([trajectories[i] for i in np.sort(rows)] for rows in ends))
    pieces = ([], [], [])
    for one in trajectories:
        rows = len(one.t)
        first, second = rows - 2 * round(fraction * rows), rows - round(fraction * rows)
        for part, (start, stop) in zip(pieces, ((0, first), (first, second), (second, rows)), strict=True):
            if stop - start < 2:
                raise UserError(f"{rows} rows are too few to hold out {fraction:g} of them twice: give more of them")
            part.append(one.part(start, stop))
    return TrajectorySplits(*pieces)


def with_noise(trajectories: Sequence[Trajectory], noise: float, seed: int) -> list[Trajectory]:
    """The same trajectories with normal noise on every observed state.

    Args:
        trajectories: At least one.
        noise: Its standard deviation, as a share of each component's own over all of these trajectories.
        seed: Seed of the noise.
    """
    rng = np.random.default_rng([seed, 1])  # not the stream that the starts came from
    size = noise * np.nanstd(np.concatenate([one.x for one in trajectories]), axis=0)
    return [one._replace(x=one.x + size * rng.standard_normal(one.x.shape)) for one in trajectories]


def windows(
    trajectories: Sequence[Trajectory],
    scaling: Scaling,
    length: int,
    stride: int,
    *,
    plain: bool,
    part: str,
    memory: int | None = None,
    segment: int | None = None,
) -> Windows:
    """All windows of `length` intervals that start at every `stride`-th observation.

    If the start of a window or segment or a state of the past is not wholly observed there, or nothing after the start
    is, the window begins at the next observation.

    Args:
        trajectories: At least one.
        scaling: The scaling of the training part.
        length: Intervals in a window.
        stride: Observations between starts.
        plain: Whether times are equally spaced and there are no control inputs.
        part: The trajectories' name in messages.
        memory: Observations before its start that a window knows; None if it knows nothing of the past.
        segment: Intervals in a segment of the window; None for all.

    Returns:
        Float32.

    Raises:
        UserError: Every trajectory is too short for one window, or none begins where all states are observed.
    """
    found, before, segment = [], memory or 0, segment or length
    for one in trajectories:
        z, u = scaling.standardised(one.x), (one.u - scaling.u_mean) / scaling.u_std
        seen, course = np.concatenate([z, u], axis=1), _course(one, u, scaling)
        start = before
        while start < len(one.t) - length:
            cut = slice(start, start + length)
            past, ahead = seen[start - before : start + 1], z[start : start + length + 1]
            known = not np.isnan(ahead[:-1:segment]).any() and not np.isnan(past).any()
            if known and not np.isnan(ahead[1:]).all():
                found.append((ahead, past, *(array[cut] for array in course)))
                start += stride
            else:
                start += 1
    if not found:
        longest, lower = max(len(one.t) for one in trajectories), "horizon, segments or memory"
        if longest > before + length:
            raise UserError(f"no {part} window begins where all states are observed: leave out a state with many gaps")
        raise UserError(
            f"a {part} window of {length} intervals{f' after {before}' if before else ''} needs "
            f"{before + length + 1} rows, but the longest {part} trajectory has {longest}: "
            f"lower {lower if before else 'horizon or segments'}, or give longer trajectories"
        )
    z, past, *course = (np.stack(arrays).astype(np.float32) for arrays in zip(*found, strict=True))
    number = np.arange(len(z), dtype=np.int32)
    return Windows(number, z, None if plain else Course(*course), None if memory is None else past)


def _course(one: Trajectory, u: np.ndarray, scaling: Scaling) -> Course:
    return Course(np.diff(one.t) / scaling.interval, u[:-1], u[1:])

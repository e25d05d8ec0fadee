"""Trajectories: observations of a system's state at increasing times, and the checks on them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ...errors import UserError
from ..files.numbers import TOO_LARGE, fits
from ..files.summary import summary
from ..files.time_columns import unit_in


class Trajectory(NamedTuple):
    """One run of a system.

    Attributes:
        t: Times, strictly increasing, at least two.
        x: The states at these times; NaN where an observation is missing.
        u: The control inputs at these times, of zero width if there are none.
    """

    t: Float[np.ndarray, " times"]
    x: Float[np.ndarray, "times d"]
    u: Float[np.ndarray, "times k"]

    def part(self, start: int, stop: int) -> "Trajectory":
        """The observations from number `start` up to, not including, number `stop`."""
        return Trajectory(*(array[start:stop] for array in self))


class Source(NamedTuple):
    """What is known of the source of trajectories.

    Attributes:
        time: The name of the times, with their unit in brackets if the source gives one.
        states: The names of the states.
        controls: Those of the control inputs.
        summary: One line: how many trajectories and times, what is observed, and what is missing.
    """

    time: str
    states: tuple[str, ...]
    controls: tuple[str, ...] = ()
    summary: str = ""

    @property
    def unit(self) -> str | None:
        """Of the times; None if it is not known."""
        return unit_in(self.time)

    def of(self, trajectories: "Sequence[Trajectory]") -> "Source":
        """The source of these trajectories, with a summary of them."""
        many = len(trajectories)
        missing = np.concatenate([np.isnan(one.x).ravel() for one in trajectories]).mean()
        text = summary(
            f"{many} trajector{'y' if many == 1 else 'ies'}",
            [one.t for one in trajectories],
            self.unit,
            {"state": self.states, "control input": self.controls},
            {"states": missing},
        )
        return self._replace(summary=text)


def check_trajectories(trajectories: Sequence[Trajectory], names: Sequence[str]) -> None:
    """Refuses trajectories from which no field can be identified.

    Args:
        trajectories: At least one, as float64, `x` and `u` of two dimensions.
        names: Their names in messages.

    Raises:
        UserError: One has fewer than two rows, a length of its own, another width than the others, infinite entries or
            NaN outside the states, or times that are not strictly increasing; or a state is never observed; or there is
            none.
    """
    if not trajectories:
        raise UserError("there are no trajectories: give at least one, with two or more rows")
    for name, one in zip(names, trajectories, strict=True):
        _check_shapes(name, one, trajectories[0], names[0])
        _check_numbers(name, one)
    never = np.all([np.isnan(one.x).all(axis=0) for one in trajectories], axis=0)
    if never.any():
        raise UserError(f"{names[0]}: state {np.argmax(never) + 1} is never observed: leave its column out")


def _check_shapes(name: str, one: Trajectory, first: Trajectory, first_name: str) -> None:
    lengths = [len(array) for array in one]
    if len(set(lengths)) > 1:
        raise UserError(
            f"{name}: {lengths[0]} times, {lengths[1]} states and {lengths[2]} control inputs: give one of each a row"
        )
    if lengths[0] < 2:
        raise UserError(f"{name}: one row shows no motion: give at least two, or leave the trajectory out")
    if one.x.shape[1] == 0:
        raise UserError(f"{name}: there are no states: give at least one column of them")
    for what, mine, theirs in (("states", one.x, first.x), ("control inputs", one.u, first.u)):
        if mine.shape[1] != theirs.shape[1]:
            raise UserError(
                f"{name}: {mine.shape[1]} {what} a row, but {theirs.shape[1]} in {first_name}: "
                "all trajectories must have the same"
            )


def _check_numbers(name: str, one: Trajectory) -> None:
    observed = np.where(np.isnan(one.x), 0.0, one.x)
    for what, array in (("time", one.t), ("state", observed), ("control input", one.u)):
        for good, wrong in ((np.isfinite, "is NaN or infinite"), (fits, TOO_LARGE)):
            rows = good(array).reshape(len(array), -1).all(axis=1)
            if not rows.all():
                raise UserError(f"{name}: the {what} in row {np.argmin(rows) + 1} {wrong}: remove or mend the row")
    gaps = np.diff(one.t)
    if np.any(gaps <= 0):
        row = int(np.argmax(gaps <= 0))
        wrong = "is there twice" if gaps[row] == 0 else f"comes after {one.t[row]:g}"
        raise UserError(
            f"{name}: times must increase strictly, but {one.t[row + 1]:g} {wrong} (row {row + 2}): sort the rows, "
            "and keep one for each time"
        )

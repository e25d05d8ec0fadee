"""Columns: which columns of a user's table are times, states, control inputs and names of trajectories."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import UserError

_TIME = ("t", "time", "date", "datetime", "timestamp")
_TRAJECTORY = ("trajectory", "traj", "id", "run", "series")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns that a user names; None for those to be found by their usual names.

    Attributes:
        time: The times; by default `t`, `time`, `date`, `datetime` or `timestamp`, a unit behind it or none.
        state: The states; by default x1, x2, ..., or else all other columns.
        control_input: The control inputs; by default u1, u2, ....
        trajectory: A label of the trajectory; by default `trajectory`, `traj`, `id`, `run` or `series`, if it is there.
    """

    time: str | None = None
    state: Sequence[str] | None = None
    control_input: Sequence[str] | None = None
    trajectory: str | None = None

    def found(self, source: str, names: Sequence[str]) -> "Found":
        """These columns in a table with columns of these names.

        Raises:
            UserError: A named column is not there or has two roles, or one cannot be found.
        """
        chosen = [self.time, self.trajectory, *(self.state or ()), *(self.control_input or ())]
        for name in filter(None, chosen):
            if name not in names:
                raise UserError(f"{source}: there is no column {name!r}; the columns are {', '.join(names)}")
            if chosen.count(name) > 1:
                raise UserError(f"{source}: column {name!r} is given twice: name each column for one purpose")
        free = [name for name in names if name not in chosen]
        time = self.time or _only(source, "times", "time", free, _TIME)
        if time is None:
            raise UserError(f"{source}: no column of times among {', '.join(names)}: name it with --time")
        free = [name for name in free if name != time]
        trajectory = self.trajectory or _only(source, "trajectories", "trajectory", free, _TRAJECTORY)
        free = [name for name in free if name != trajectory]
        control = self.control_input if self.control_input is not None else _numbered(source, "u", free)
        free = [name for name in free if name not in control]
        state = self.state if self.state is not None else _numbered(source, "x", free) or free
        if not state:
            raise UserError(f"{source}: no column of states beside {', '.join(names)}: give at least one")
        left = [name for name in free if name not in state]
        if left and self.state is None:
            raise UserError(f"{source}: column {left[0]!r} is neither a state x1, x2, ... nor a control input: {_NAME}")
        return Found(time, tuple(state), tuple(control), trajectory)


USUAL = Columns()
"""All columns by their usual names."""

_NAME = "name the states with --state, the control inputs with --control-input"


@dataclass(frozen=True)
class Found:
    """Columns as they are called in a table; `trajectory` is None if all rows are of one."""

    time: str
    state: tuple[str, ...]
    control: tuple[str, ...]
    trajectory: str | None


def _only(source: str, what: str, option: str, names: Sequence[str], usual: Sequence[str]) -> str | None:
    """The one column with a usual name, with a unit behind it or none; None if there is none."""
    found = [name for name in names if re.split(r"[\s(\[]", name.strip().lower())[0] in usual]
    if len(found) > 1:
        raise UserError(f"{source}: {' and '.join(found)} may both be the {what}: name one with --{option}")
    return found[0] if found else None


def _numbered(source: str, letter: str, names: Sequence[str]) -> list[str]:
    """The columns x1, x2, ... (or u1, u2, ...) in this order."""
    count = sum(bool(re.fullmatch(rf"{letter}[1-9]\d*", name)) for name in names)
    wanted = [f"{letter}{i + 1}" for i in range(count)]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise UserError(f"{source}: column {missing[0]!r} is missing: number them from {letter}1 on, without gaps")
    return wanted

"""Columns: which columns of a user's table are times, states, control inputs and labels of trajectories."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...errors import UserError
from ..files.columns import GROUP, as_names, check_chosen, numbered, usual
from ..files.summary import listed
from ..files.table import Table
from ..files.time_columns import time_columns

_NAME = "name the states with --state, the control inputs with --control-input"


class Found(NamedTuple):
    """Columns as they are called in a table; `trajectory` is None if all rows are of one."""

    time: tuple[str, ...]
    state: tuple[str, ...]
    control: tuple[str, ...]
    trajectory: str | None


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns of trajectories that a user names; None for those to be found by their usual names.

    Attributes:
        time: The times, or a column of dates and one of clock times; by default those with a usual name,
            or else the only column of dates, or else one such as `year` or `hour` (docs/own_data.md).
        state: The states; by default x1, x2, ..., or else all other columns.
        control_input: The control inputs; by default u1, u2, ....
        trajectory: A label of the trajectory; by default `trajectory`, `traj`, `id`, `run` or `series`, if it is there.
    """

    time: Sequence[str] | str | None = None
    state: Sequence[str] | str | None = None
    control_input: Sequence[str] | str | None = None
    trajectory: str | None = None

    def found(self, table: Table) -> Found:
        """These columns in a table.

        Raises:
            UserError: A named column is not there or has two purposes, or one cannot be found.
        """
        times, named, inputs = as_names(self.time), as_names(self.state), as_names(self.control_input)
        chosen = [*(times or ()), *([self.trajectory] if self.trajectory else []), *(named or ()), *(inputs or ())]
        source, names = table.source, table.names
        check_chosen(source, table.choosable, chosen)
        free = [name for name in names if name not in chosen]
        time = times or time_columns(table, free, "--state")
        free = [name for name in free if name not in time]
        trajectory = self.trajectory or usual(source, free, GROUP, "trajectories", "trajectory")
        free = [name for name in free if name != trajectory]
        control = inputs if inputs is not None else numbered(source, free, "u")
        free = [name for name in free if name not in control]
        state = named if named is not None else numbered(source, free, "x") or free
        if not state:
            raise UserError(f"{source}: no column of states beside {listed(names)}: give at least one")
        left = [name for name in free if name not in state]
        if left and named is None:
            raise UserError(f"{source}: column {left[0]!r} is neither a state x1, x2, ... nor a control input: {_NAME}")
        return Found(time, tuple(state), tuple(control), trajectory)


USUAL = Columns()
"""All columns by their usual names."""

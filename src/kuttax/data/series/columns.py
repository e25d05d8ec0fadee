"""SeriesColumns: which columns of a user's table are times, channels, labels and names of series."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...errors import UserError
from ..files.columns import GROUP, as_names, check_chosen, needed
from ..files.summary import listed
from ..files.table import Table
from ..files.time_columns import time_columns

_LABEL = ("label", "class", "target")


class Found(NamedTuple):
    """Columns as they are called in a table; `label` is None for series without labels."""

    series: str
    time: tuple[str, ...]
    channel: tuple[str, ...]
    label: str | None


@dataclass(frozen=True, kw_only=True)
class SeriesColumns:
    """The columns of series that a user names; None for those to be found by their usual names.

    Attributes:
        series: The name of a row's series; by default `series`, `trajectory`, `traj`, `id` or `run`.
        time: The times, or a column of dates and one of clock times; by default those with a usual name,
            or else the only column of dates, or else one such as `year` or `hour` (docs/own_data.md).
        channel: The observed values; by default all other columns.
        label: The class or the number to predict; by default `label`, `class` or `target`.
    """

    series: str | None = None
    time: Sequence[str] | str | None = None
    channel: Sequence[str] | str | None = None
    label: str | None = None

    def found(self, table: Table, *, labelled: bool) -> Found:
        """These columns in a table.

        Args:
            table: The table.
            labelled: Whether the series have labels.

        Raises:
            UserError: A named column is not there or has two purposes, or one cannot be found.
        """
        times, channel = as_names(self.time), as_names(self.channel)
        named = (self.series, self.label, *(times or ()), *(channel or ()))
        chosen = [name for name in named if name is not None]
        source, names = table.source, table.names
        check_chosen(source, table.choosable, chosen)
        free = [name for name in names if name not in chosen]
        series = self.series or needed(source, free, GROUP, "names of series", "series")
        time = times or time_columns(table, free, "--channel")
        label = self.label
        if labelled and label is None:
            label = needed(source, free, _LABEL, "labels", "label")
        if channel is None:
            channel = [name for name in free if name not in (series, *time, label)]
        if not channel:
            raise UserError(f"{source}: no channel beside {listed(names)}: give at least one column of values")
        return Found(series, time, tuple(channel), label)


USUAL = SeriesColumns()
"""All columns by their usual names."""

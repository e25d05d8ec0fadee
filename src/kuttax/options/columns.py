"""Columns: the options that say how a user's table is read, alike in all tasks."""

from typing import Annotated

import tyro

TimeColumns = Annotated[
    tuple[str, ...] | None,
    tyro.conf.arg(
        metavar="COLUMN ...",
        help="With --file: the times, numbers or dates; or a column of dates and one of clock times (default: t, time "
        "or date, or both date and time).",
    ),
]
SeriesColumn = Annotated[
    str | None,
    tyro.conf.arg(metavar="COLUMN", help="With --file: the name of a row's series (default: series, id or run)."),
]
ChannelColumns = Annotated[
    tuple[str, ...] | None,
    tyro.conf.arg(metavar="COLUMN ...", help="With --file: the observed values (default: all other columns)."),
]
Delimiter = Annotated[
    str | None,
    tyro.conf.arg(
        metavar="CHARACTER",
        help="With --file: what stands between the cells of a CSV file: a character, or tab, space, comma, semicolon, "
        "bar (default: what divides the lines alike).",
    ),
]

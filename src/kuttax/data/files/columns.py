"""Columns: which column of a user's table has a purpose, by the name that the user gives or by a usual name."""

import re
from collections.abc import Sequence

import numpy as np

from ...errors import UserError
from .summary import listed

GROUP = ("series", "trajectory", "traj", "id", "run")
"""Usual names of a column that tells trajectories or series apart."""

BRACKETS = re.compile(r"\s*[(\[]([^()\[\]]*)[)\]]$")
"""A unit in brackets at the end of a name."""


def as_names(chosen: Sequence[str] | str | None) -> tuple[str, ...] | None:
    """Columns that a user names, one as a text or several; None for none that are named."""
    return None if chosen is None else tuple(map(str, np.atleast_1d(np.asarray(chosen, object))))


def check_chosen(source: str, names: Sequence[str], chosen: Sequence[str]) -> None:
    """Refuses chosen columns that are not there or are chosen twice.

    Args:
        source: The table's name in messages.
        names: Those of its columns.
        chosen: The columns that the user names.

    Raises:
        UserError: There is such a column.
    """
    for name in chosen:
        if name not in names:
            raise UserError(f"{source}: there is no column {name!r}; the columns are {listed(names)}")
        if chosen.count(name) > 1:
            raise UserError(f"{source}: column {name!r} is given twice: name each column for one purpose")


def usual(source: str, names: Sequence[str], known: Sequence[str], what: str, option: str) -> str | None:
    """The one column with a usual name, with a unit behind it or none; None if there is none.

    Args:
        source: The table's name in messages.
        names: The columns to choose from.
        known: The usual names, in lower case.
        what: Its contents, for the message.
        option: The option that names it, likewise.

    Raises:
        UserError: Several columns have such names.
    """
    found = [name for name in names if BRACKETS.sub("", name.strip()).lower() in known]
    found = [name for name in found if name in known] or found  # t before T (K)
    if len(found) > 1:
        raise UserError(f"{source}: {' and '.join(found)} may both be the {what}: name one with --{option}")
    return found[0] if found else None


def needed(source: str, names: Sequence[str], known: Sequence[str], what: str, option: str) -> str:
    """As `usual`.

    Raises:
        UserError: Several columns have such names, or none has.
    """
    found = usual(source, names, known, what, option)
    if found is None:
        raise UserError(f"{source}: no column of {what} among {listed(names)}: name it with --{option}")
    return found


def numbered(source: str, names: Sequence[str], letter: str) -> list[str]:
    """The columns x1, x2, ... or X1, X2, ... (or u1, u2, ...) in this order.

    Raises:
        UserError: One of them is missing, or is there twice.
    """
    found = {name.lower(): name for name in names if re.fullmatch(rf"{letter}[1-9]\d*", name, re.IGNORECASE)}
    wanted = [f"{letter}{i + 1}" for i in range(len(found))]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise UserError(f"{source}: column {missing[0]!r} is missing: number them from {letter}1 on, without gaps")
    return [found[name] for name in wanted]

"""Terminal: the console that commands print to."""

import io
import os
import sys

from rich.console import Console

_NOTEBOOK = "JPY_PARENT_PID"  # in the environment of what a notebook's kernel starts


def terminal(*, quiet: bool = False) -> Console:
    """A console that shows text unchanged: brackets in a path are not markup, and numbers have no colour.

    `out` prints a line without folding it, so that a path can be copied whole; use `print` for tables.
    """
    if isinstance(
        sys.stdout, io.TextIOWrapper
    ):  # what it cannot encode, as a path's bytes that are no text, is escaped
        sys.stdout.reconfigure(errors="backslashreplace")
    known = None if _can_redraw() else False  # None: rich looks at TERM and the like
    return Console(markup=False, highlight=False, emoji=False, quiet=quiet, force_terminal=known)


def _can_redraw() -> bool:
    """Whether a progress bar may redraw its line: not in a file, nor in a cell of a notebook, which would keep every
    state of it, although it calls itself a terminal."""
    return sys.stdout.isatty() and _NOTEBOOK not in os.environ

"""Terminal: the console that commands print to."""

import io
import sys

from rich.console import Console


def terminal(*, quiet: bool = False) -> Console:
    """A console that shows text unchanged: brackets in a path are not markup, and numbers have no colour.

    `out` prints a line without folding it, so that a path can be copied whole; use `print` for tables.
    """
    if isinstance(
        sys.stdout, io.TextIOWrapper
    ):  # what it cannot encode, as a path's bytes that are no text, is escaped
        sys.stdout.reconfigure(errors="backslashreplace")
    return Console(markup=False, highlight=False, emoji=False, quiet=quiet)

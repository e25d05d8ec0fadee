"""Terminal: where commands print."""

import io
import sys

from rich.console import Console


def terminal(*, quiet: bool = False) -> Console:
    """A console that shows text as it is: brackets in a path are no markup, and numbers get no colour.

    `out` prints a line that is not folded, so that a path can be copied whole; `print` is for tables.
    """
    if isinstance(
        sys.stdout, io.TextIOWrapper
    ):  # what it cannot encode, as a path's bytes that are no text, is escaped
        sys.stdout.reconfigure(errors="backslashreplace")
    return Console(markup=False, highlight=False, emoji=False, quiet=quiet)

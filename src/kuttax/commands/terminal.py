"""Terminal: where commands print."""

from rich.console import Console


def terminal(*, quiet: bool = False) -> Console:
    """A console that shows text as it is: brackets in a path are no markup, and numbers get no colour.

    `out` prints a line that is not folded, so that a path can be copied whole; `print` is for tables.
    """
    return Console(markup=False, highlight=False, emoji=False, quiet=quiet)

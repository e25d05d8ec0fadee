"""`kuttax report DIR`: the table, plots and page of a comparison, from its records."""

from pathlib import Path

from rich.console import Console

from .. import report
from ..report import table


def draw(directory: Path, console: Console) -> None:
    """Draw the report of a comparison into its directory and print the table."""
    console.print(table.terminal(report.write(directory), console.width))
    console.out(f"Table, plots and page: {directory / 'index.html'}")

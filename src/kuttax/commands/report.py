"""`kuttax report DIR`: the table, plots and page of a comparison, from its records."""

from pathlib import Path

from rich.console import Console

from .. import report
from ..io.folder import Folder
from ..report import table
from .output import writing_into


def draw_again(directory: Path, console: Console) -> None:
    """Draw the report of a finished comparison into its directory and print the table."""
    with writing_into(directory, "report") as folder:
        draw(folder, console)
    console.out(f"Table, plots and page: {directory / 'index.html'}")


def draw(folder: Folder, console: Console) -> None:
    """Draw the report of a comparison into its folder and print the table."""
    found = report.read(folder.path)
    with folder.writing(*report.DRAWN):
        rows = report.draw(folder.path, found)
    console.print(table.terminal(rows, console.width))

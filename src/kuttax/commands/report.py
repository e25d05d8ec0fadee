"""`kuttax report DIR`: the table, plots and page of a comparison, from its records."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from .. import report
from ..io.folder import Folder
from ..options.unused import Unused
from ..report import table
from .output import writing_into


@dataclass(frozen=True)
class Report:
    """Draw the table, the plots and the page of a comparison again, from the records in DIR."""

    def unused(self) -> dict[str, Unused]:
        """The options that have no effect beside the others: none."""
        return {}

    def __call__(self, directory: Path, console: Console) -> int:
        """Run the command; returns the exit code."""
        with writing_into(directory, "report") as folder:
            draw(folder, console)
        console.out(f"Table, plots and page: {directory / 'index.html'}")
        return 0


def draw(folder: Folder, console: Console) -> None:
    """Draw the report of a comparison into its folder and print the table."""
    found = report.read(folder.path)
    with folder.writing(*report.DRAWN):
        rows = report.draw(folder.path, found)
    console.print(table.terminal(rows, console.width))

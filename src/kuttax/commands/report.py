"""`kuttax report DIR...`: the table, plots and page of a comparison, from its records."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from .. import report
from ..errors import UserError
from ..io.folder import Folder
from ..options.unused import Unused, unless
from ..report import table
from .batch import merge
from .saved.output import Output, writing_into


@dataclass(frozen=True)
class Report:
    """Draw the table, the plots and the page of a comparison again, from the records in DIR. With several DIR, such as
    those of --shard, merge their records into one comparison, and draw it in --out."""

    out: Path | None = None
    """With several DIR: write the merged records, table, plots and page to this folder."""
    overwrite: bool = False
    """With several DIR: replace the results of an earlier report in --out."""

    def unused(self, directories: Sequence[Path]) -> dict[str, Unused]:
        """The options that have no effect beside the others."""
        return unless(len(directories) > 1, ["out", "overwrite"], "with one DIR", "name several")

    def __call__(self, directories: Sequence[Path], console: Console) -> int:
        """Run the command; returns the exit code."""
        if len(directories) > 1:
            out = self._merged(directories, console)
        else:
            (out,) = directories
            with writing_into(out, "report") as folder:
                draw(folder, console)
        console.out(f"Table, plots and page: {out / 'index.html'}")
        return 0

    def _merged(self, directories: Sequence[Path], console: Console) -> Path:
        """Draw the comparison that the folders are parts of; returns its folder."""
        if self.out is None:
            raise UserError("report merges several DIR into a new folder: name it with --out")
        if self.out.resolve() in {directory.resolve() for directory in directories}:
            raise UserError(f"--out {self.out} is one of the folders to merge: name another one")
        with Output(self.out, "report", overwrite=self.overwrite) as output:
            output.refuse_used()
            parts = merge.read(directories)
            if missing := merge.missing(parts):
                console.out(f"not among these folders: shard {', '.join(map(str, missing))}")
            folder = output.begin()
            merge.write(folder, parts, shlex.join(["kuttax", *sys.argv[1:]]))
            draw(folder, console)
            output.finish()
        return self.out


def draw(folder: Folder, console: Console) -> None:
    """Draw the report of a comparison into its folder and print the table."""
    found = report.read(folder.path)
    with folder.writing(*report.DRAWN):
        rows = report.draw(folder.path, found)
    console.print(table.terminal(rows, console.width))

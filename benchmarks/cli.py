"""python -m benchmarks run | against | gpu | table | plot: the command line."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from kuttax.commands.options.parser import parse
from kuttax.commands.program.command_line import CommandLine, leading
from kuttax.errors import UserError

from . import plot, table
from .against import Against
from .gpu import Gpu
from .peer import PeerError
from .results import Results
from .run import Run
from .training import TRAININGS
from .workloads import ON_GPU, WORKLOADS

_CALL = "python -m benchmarks"
USAGE = f"""kuttax against its peers, and against the least time that the work can take

usage:
  {_CALL} run [OPTIONS]                      measure, and append the records to a file
  {_CALL} against --other SRC [OPTIONS]      measure this checkout against another one, in turns
  {_CALL} gpu [OPTIONS]                      measure on a GPU for at most some minutes; run it again to go on
  {_CALL} table RECORDS... [--out FILE.md]   print the records as Markdown
  {_CALL} plot RECORDS... --out DIR          draw the records

workloads of run: {", ".join(WORKLOADS)}
workloads of gpu: {", ".join([*ON_GPU, *TRAININGS])}
options of a command: {_CALL} run --help

to begin:
  {_CALL} run --only small-rk4,wide-dopri5 --out runs/benchmarks.jsonl
  {_CALL} table runs/benchmarks.jsonl"""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Print the records in the files RECORDS as Markdown."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write to this file in place of the terminal."""

    def __call__(self, results: Results) -> None:
        text = table.markdown(results)
        if self.out is None:
            print(text)
        else:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self.out.write_text(text)


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Draw the records in the files RECORDS, and print the paths of the pictures."""

    out: Path | None = None
    """Write the pictures to this folder; needed."""

    def __call__(self, results: Results) -> None:
        if self.out is None:
            raise UserError("plot needs --out DIR")
        for path in plot.draw(results, self.out):
            print(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point; `kuttax.commands.program.ending` says how it ends."""
    _PROGRAM.main(arguments)


def _measure(command: str, start: Callable[[], None], words: list[str]) -> None:
    """Run a command that makes records."""
    parse(start, words, f"{_CALL} {command}")()


def _on_records(command: str, start: Any, words: list[str]) -> None:
    """Run a command on the records in some files."""
    files = leading(words)
    parsed = parse(start, words[len(files) :], f"{_CALL} {command} RECORDS...")
    if not files:
        raise UserError(f"{command} needs RECORDS first, for example: {_CALL} {command} runs/benchmarks.jsonl")
    parsed(Results.read(files))


_PROGRAM = CommandLine(
    name="benchmarks",
    call=_CALL,
    usage=USAGE,
    stopped="stopped; workloads that were done are kept",
    failures=(PeerError,),
    commands={
        "run": lambda: partial(_measure, "run", Run()),
        "against": lambda: partial(_measure, "against", Against()),
        "gpu": lambda: partial(_measure, "gpu", Gpu()),
        "table": lambda: partial(_on_records, "table", Table()),
        "plot": lambda: partial(_on_records, "plot", Plot()),
    },
)

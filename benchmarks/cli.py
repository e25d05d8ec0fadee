"""python -m benchmarks run | table | plot: the command line."""

import sys
from collections.abc import Sequence
from pathlib import Path

from kuttax.commands import ending
from kuttax.commands.parser import parse
from kuttax.errors import UserError

from . import plot, table
from .against import Against
from .peer import PeerError
from .results import Results
from .run import Run
from .workloads import WORKLOADS

_PROGRAM = "python -m benchmarks"
USAGE = f"""kuttax against its peers, and against the least time that the work can take

usage:
  {_PROGRAM} run [OPTIONS]                      measure; see {_PROGRAM} run --help
  {_PROGRAM} against --other SRC [OPTIONS]      this checkout against another one, in turns
  {_PROGRAM} table RECORDS... [--out FILE.md]   the records as Markdown
  {_PROGRAM} plot RECORDS... --out DIR          pictures of the records

workloads: {", ".join(WORKLOADS)}

for a start:
  {_PROGRAM} run --only small-rk4,wide-dopri5 --out runs/benchmarks.jsonl
  {_PROGRAM} table runs/benchmarks.jsonl"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: how it ends, `kuttax.commands.ending` says."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    stopped = "stopped; workloads that were done are kept"
    ending.run(lambda: _command(argv), program="benchmarks", stopped=stopped, failures=(PeerError,))


def _command(argv: list[str]) -> None:
    match argv:
        case [] | ["-h" | "--help"] | ["table" | "plot", "-h" | "--help"]:
            print(USAGE)
        case ["run", *rest]:
            parse(Run, rest, f"{_PROGRAM} run")()
        case ["against", *rest]:
            parse(Against, rest, f"{_PROGRAM} against")()
        case ["table", *rest]:
            _table(*_records("table", rest))
        case ["plot", *rest]:
            _plot(*_records("plot", rest))
        case _:
            raise UserError(f"unknown command {argv[0]!r}; known: run, against, table, plot (see {_PROGRAM} --help)")


def _records(command: str, rest: list[str]) -> tuple[Results, Path | None]:
    """The records named, and where the output goes."""
    out = None
    if "--out" in rest:
        at = rest.index("--out")
        if at + 1 == len(rest):
            raise UserError("--out needs a value")
        out = Path(rest[at + 1])
        rest = rest[:at] + rest[at + 2 :]
    unknown = next((word for word in rest if word.startswith("-")), None)
    if unknown is not None:
        raise UserError(f"unknown option {unknown!r}; {command} takes RECORDS... and --out")
    if not rest:
        raise UserError(f"{command} needs RECORDS first, for example: {_PROGRAM} {command} runs/benchmarks.jsonl")
    return Results.read(rest), out


def _table(results: Results, out: Path | None) -> None:
    text = table.markdown(results)
    if out is None:
        print(text)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text)


def _plot(results: Results, out: Path | None) -> None:
    if out is None:
        raise UserError("plot needs --out DIR")
    for path in plot.draw(results, out):
        print(path)

"""kuttax train | compare | evaluate | report: the command line."""

import contextlib
import io
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from . import __version__, report
from .commands.compare import Compare
from .commands.evaluate import Evaluate
from .commands.train import Train
from .errors import UserError
from .report import table
from .solvers.solution import SolveError
from .tasks.registry import TASKS, task_options
from .training.loop import TrainingError

USAGE = f"""kuttax {__version__}: neural differential equations that are cheap and stay honest

usage:
  kuttax train TASK [OPTIONS]      train one model with one solver
  kuttax compare TASK [OPTIONS]    the same model under an adaptive, classical and learned solvers, side by side
  kuttax evaluate RUN [OPTIONS]    a saved run on its test data, with its own solver or another
  kuttax report DIR                draw the table, plots and page of a comparison again

tasks: {", ".join(TASKS)}
options of a command: kuttax train digits --help

for a start:
  kuttax train digits --solver learned --stages 4 --steps 2
  kuttax compare digits --nfe 4 8 --seeds 3"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: a user's mistake is one line on standard error and exit code 2."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.exit(_command(argv))
    except UserError as error:
        _fail(str(error), 2)
    except (SolveError, TrainingError) as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail("stopped; finished runs are kept", 130)


def _fail(message: str, code: int) -> None:
    print(f"kuttax: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


def _command(argv: list[str]) -> int:
    console = Console()
    match argv:
        case [] | ["-h" | "--help", *_] | ["help"]:
            print(USAGE)
            return 0
        case ["--version"]:
            print(f"kuttax {__version__}")
            return 0
        case ["train" | "compare" as command, *rest]:
            name, rest = _subject(command, "TASK", rest)
            kind = {"train": Train, "compare": Compare}[command]
            return _on_task(kind, command, name, rest, console)
        case ["evaluate", *rest]:
            directory, rest = _subject("evaluate", "RUN", rest)
            return _parsed(Evaluate, rest, f"kuttax evaluate {directory}")(Path(directory), console)
        case ["report", *rest]:
            directory, rest = _subject("report", "DIR", rest)
            if rest:
                raise UserError(f"kuttax report takes one directory, got also {rest[0]!r}")
            console.print(table.terminal(report.write(directory), console.width))
            console.print(f"Table, plots and page: {Path(directory) / 'index.html'}", highlight=False, soft_wrap=True)
            return 0
    raise UserError(f"unknown command {argv[0]!r}; known: train, compare, evaluate, report (see kuttax --help)")


def _subject(command: str, what: str, rest: list[str]) -> tuple[str, list[str]]:
    """The task or directory that a command is about, and the options after it."""
    if rest and rest[0] in ("-h", "--help"):
        print(USAGE)
        sys.exit(0)
    if not rest or rest[0].startswith("-"):
        example = f"kuttax {command} {'digits' if what == 'TASK' else 'runs/train-digits'}"
        raise UserError(f"kuttax {command} needs a {what} first, for example: {example}")
    return rest[0], rest[1:]


def _on_task(kind: type, command: str, name: str, rest: list[str], console: Console) -> int:
    """Parse the options of a command together with those of its task, and run it."""
    options = task_options(name)
    both = make_dataclass(
        "Options",
        [("command", kind, field(default_factory=kind)), ("task", options, field(default_factory=options))],
        frozen=True,
    )
    both.__doc__ = kind.__doc__
    parsed = _parsed(both, rest, f"kuttax {command} {name}")
    return parsed.command(name, parsed.task, console)


def _parsed(kind: Callable[..., Any], rest: list[str], program: str) -> Any:
    """tyro's parse of the options; its box of errors becomes one line."""
    config = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    shown = io.StringIO()
    try:
        with contextlib.redirect_stderr(shown):
            return tyro.cli(kind, args=rest, prog=program, config=config)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UserError(f"{_first_complaint(shown.getvalue())} (see {program} --help)") from None


def _first_complaint(box: str) -> str:
    """What tyro's error box says, without its frame and its hints."""
    plain = re.sub(r"\x1b\[[0-9;]*m|[\u2500-\u257f|]", " ", box)
    lines = [line.strip() for line in plain.splitlines()]
    body = [line for line in lines if line and not set(line) <= {"-", " "}]
    end = next((i for i, line in enumerate(body) if i > 1 and line.startswith(_HINTS)), len(body))
    return " ".join(body[1:end]) or "the options cannot be read"


_HINTS = ("Perhaps", "Argument helptext", "For full", "Did you mean", "Similar")

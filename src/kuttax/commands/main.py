"""kuttax fit | train | compare | evaluate | certify | distill | report: the command line."""

import sys
from collections.abc import Sequence
from dataclasses import field, fields, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from .. import __version__
from ..errors import UserError
from ..options.unused import refuse_unused
from ..tasks.registry import TASKS, task_options
from ..training.settings import Settings
from . import ending
from .certify import Certify
from .compare import Compare
from .distill import Distill
from .evaluate import Evaluate
from .fit import Fit
from .parser import given, parse
from .report import draw_again
from .terminal import terminal
from .train import Train

USAGE = f"""kuttax {__version__}: neural differential equations that are cheap and stay honest

usage:
  kuttax fit TASK --nfe N [OPTIONS]   model, solver of N evaluations, and certificate: all that follows in one
  kuttax train TASK [OPTIONS]      train one model with one solver, and perhaps a penalty
  kuttax compare TASK [OPTIONS]    the same model under an adaptive, classical and learned solvers, side by side;
                                   or, with --penalties, under what makes its field cheap to integrate
  kuttax evaluate RUN [OPTIONS]    a saved run on its test data, with its own solver or another
  kuttax certify RUN [OPTIONS]     whether a saved run's field means anything without its solver
  kuttax distill RUN [OPTIONS]     fit a learned solver to a saved run's field
  kuttax report DIR                draw the table, plots and page of a comparison again

tasks: {", ".join(TASKS)}
options of a command: kuttax train digits --help

for a start:
  kuttax train digits --solver learned --stages 4 --steps 2
  kuttax compare digits --nfe 4 8 --seeds 3
  kuttax compare digits --penalties all"""

REPORT = """usage: kuttax report DIR

Draw the table, the plots and the page of a comparison again, from the records in DIR."""

_ON_TASK = {"fit": Fit, "train": Train, "compare": Compare}
_ON_RUN = {"evaluate": Evaluate, "certify": Certify, "distill": Distill}


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: how it ends, `kuttax.commands.ending` says."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    stopped = "stopped; what was saved is kept: fit, train and compare continue with --resume"
    ending.run(lambda: _command(argv), stopped=stopped)


def _command(argv: list[str]) -> int:
    console = terminal()
    match argv:
        case [] | ["-h" | "--help", *_] | ["help"]:
            print(USAGE)
            return 0
        case ["--version"]:
            print(f"kuttax {__version__}")
            return 0
        case ["fit" | "train" | "compare" as command, "-h" | "--help", *_]:
            return _help(command)
        case ["fit" | "train" | "compare" as command, *rest]:
            name, rest = _subject(command, "TASK", rest)
            return _on_task(command, name, rest, console)
        case ["evaluate" | "certify" | "distill" as command, "-h" | "--help", *_]:
            return parse(_ON_RUN[command], ["--help"], f"kuttax {command} RUN")
        case ["evaluate" | "certify" | "distill" as command, *rest]:
            directory, rest = _subject(command, "RUN", rest)
            parsed = parse(_ON_RUN[command], rest, f"kuttax {command} {directory}")
            refuse_unused(parsed.unused(), given(rest))
            return parsed(Path(directory), console)
        case ["report", *rest]:
            return _report(rest, console)
    known = "fit, train, compare, evaluate, certify, distill, report"
    raise UserError(f"unknown command {argv[0]!r}; known: {known} (see kuttax --help)")


def _subject(command: str, what: str, rest: list[str]) -> tuple[str, list[str]]:
    """The task or directory that a command is about, and the options after it."""
    if not rest or rest[0].startswith("-"):
        example = {"TASK": "digits", "RUN": "runs/train-digits", "DIR": "runs/compare-digits"}[what]
        raise UserError(f"{command} needs a {what} first, for example: kuttax {command} {example}")
    return rest[0], rest[1:]


def _help(command: str) -> int:
    """The options of a command on any task."""
    kind = _ON_TASK[command]
    example = f"kuttax {command} {next(iter(TASKS))} --help"
    tasks = f"TASK is one of {', '.join(TASKS)}; for the options that it adds: {example}"
    return parse(kind, ["--help"], f"kuttax {command} TASK", f"{kind.__doc__}\n\n{tasks}")


def _on_task(command: str, name: str, rest: list[str], console: Console) -> int:
    """Parse the options of a command together with those of its task, and run it."""
    kind, options = _ON_TASK[command], task_options(name)
    start = _usual(kind, options)  # what a task is usually trained with shows in the help
    nameless = Annotated[kind, tyro.conf.arg(name="")]  # its options get no heading of their own in the help
    both = make_dataclass(
        "Options",
        [("command", nameless, field(default=start)), ("task", options, field(default_factory=options))],
        frozen=True,
    )
    parsed = parse(both, rest, f"kuttax {command} {name}", kind.__doc__)
    refuse_unused(parsed.task.unused() | parsed.command.unused(parsed.task), given(rest))
    return parsed.command(name, parsed.task, console)


def _usual(kind: type[Any], options: Any) -> Any:
    """A command with the settings, and the solver, that a task is usually trained with."""
    start = kind(training=Settings(**options.training))
    if not options.solver or "solver" not in {option.name for option in fields(kind)}:
        return start
    return replace(start, solver=replace(start.solver, **options.solver))


def _report(rest: list[str], console: Console) -> int:
    if "-h" in rest or "--help" in rest:
        print(REPORT)
        return 0
    directory, rest = _subject("report", "DIR", rest)
    if rest:
        raise UserError(f"report takes one directory, got also {rest[0]!r}")
    draw_again(Path(directory), console)
    return 0

"""kuttax fit | train | compare | evaluate | certify | distill | report: the command line."""

from collections.abc import Sequence
from dataclasses import field, fields, make_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from .._version import __version__
from ..errors import UserError
from ..options.unused import refuse_unused
from ..tasks.registry import TASKS, task_options
from ..training.settings import Settings
from .certify import Certify
from .compare import Compare
from .distill import Distill
from .evaluate import Evaluate
from .fit import Fit
from .options.parser import given, parse
from .program import CommandLine, asks_help, leading
from .report import Report
from .terminal import terminal
from .train import Train

USAGE = f"""kuttax {__version__}: train neural differential equations that do not depend on their solver

usage:
  kuttax fit TASK --nfe N [OPTIONS]  train a model and a solver of N evaluations, and certify the result
  kuttax train TASK [OPTIONS]        train one model with one solver, and with a penalty if you name one
  kuttax compare TASK [OPTIONS]      train one model with several solvers, or with several penalties, and report each
  kuttax evaluate RUN [OPTIONS]      evaluate a saved run on its test data, with its own solver or another one
  kuttax certify RUN [OPTIONS]       test whether the results of a saved run depend on its solver
  kuttax distill RUN [OPTIONS]       fit a learned solver to the field of a saved run
  kuttax report DIR                  draw the table, plots and page of a comparison again

tasks: {", ".join(TASKS)}
options of a command on a task: kuttax train digits --help

to begin:
  kuttax train digits --solver learned --stages 4 --steps 2
  kuttax compare digits --nfe 4 8 --seeds 3
  kuttax compare digits --penalties all"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point; `kuttax.commands.ending` says how it ends."""
    _PROGRAM.main(arguments)


def _subject(command: str, what: str, words: list[str], example: str) -> tuple[str, list[str]]:
    """The task or folder that a command works on, and the options after it."""
    names = leading(words)
    if not names:
        raise UserError(f"{command} needs a {what} first, for example: kuttax {command} {example}")
    if len(names) > 1:
        raise UserError(f"{command} takes one {what}, got also {names[1]!r}")
    return names[0], words[1:]


def _on_folder(command: str, kind: type[Any], what: str, example: str, words: list[str]) -> int:
    """Run a command on a saved run or comparison."""
    program = f"kuttax {command} {what}"
    if asks_help(words):
        return parse(kind(), words, program)
    folder, rest = _subject(command, what, words, example)
    parsed = parse(kind(), rest, program)
    refuse_unused(parsed.unused(), given(rest))
    return parsed(Path(folder), terminal())


def _on_task(command: str, kind: type[Any], words: list[str]) -> int:
    """Parse the options of a command together with those of its task, and run it."""
    if asks_help(words):
        return _help(command, kind)
    name, rest = _subject(command, "TASK", words, "digits")
    options = task_options(name)
    start = _usual(kind, options)  # so that the help shows the task's default settings
    nameless = Annotated[kind, tyro.conf.arg(name="")]  # so that its options have no separate heading in the help
    both = make_dataclass(
        "Options",
        [("command", nameless, field(default=start)), ("task", options, field(default_factory=options))],
        frozen=True,
    )
    parsed = parse(both(), rest, f"kuttax {command} {name}", kind.__doc__)
    refuse_unused(parsed.task.unused() | parsed.command.unused(parsed.task), given(rest))
    return parsed.command(name, parsed.task, terminal())


def _help(command: str, kind: type[Any]) -> int:
    """Print the options that a command has on every task."""
    example = f"kuttax {command} {next(iter(TASKS))} --help"
    tasks = f"TASK is one of {', '.join(TASKS)}. Each adds options of its own: {example}"
    return parse(kind(), ["--help"], f"kuttax {command} TASK", f"{kind.__doc__}\n\n{tasks}")


def _usual(kind: type[Any], options: Any) -> Any:
    """A command with the default settings, and the default solver, of a task."""
    start = kind(training=Settings(**options.training))
    if not options.solver or "solver" not in {option.name for option in fields(kind)}:
        return start
    return replace(start, solver=replace(start.solver, **options.solver))


_PROGRAM = CommandLine(
    name="kuttax",
    call="kuttax",
    usage=USAGE,
    version=__version__,
    stopped="stopped; what was saved is kept: fit, train and compare continue with --resume",
    commands={
        "fit": partial(_on_task, "fit", Fit),
        "train": partial(_on_task, "train", Train),
        "compare": partial(_on_task, "compare", Compare),
        "evaluate": partial(_on_folder, "evaluate", Evaluate, "RUN", "runs/train-digits"),
        "certify": partial(_on_folder, "certify", Certify, "RUN", "runs/train-digits"),
        "distill": partial(_on_folder, "distill", Distill, "RUN", "runs/train-digits"),
        "report": partial(_on_folder, "report", Report, "DIR", "runs/compare-digits"),
    },
)

"""Subject: the task or folder that a command works on, and the options after it."""

from collections.abc import Callable, Mapping
from dataclasses import field, fields, make_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from ...errors import UserError
from ...options.unused import refuse_unused
from ...tasks.registry import TASKS, task_options
from ...training.settings import Settings
from ..options.parser import flags, given, parse, parse_known
from .command_line import asks_help, leading
from .terminal import terminal


def _subject(command: str, what: str, words: list[str], example: str) -> tuple[str, list[str]]:
    """The task or folder that a command works on, and the options after it."""
    names, rest = _subjects(command, what, words, example)
    if len(names) > 1:
        raise UserError(f"{command} takes one {what}, got also {names[1]!r}")
    return names[0], rest


def _subjects(command: str, what: str, words: list[str], example: str) -> tuple[list[str], list[str]]:
    """The tasks or folders that a command works on, and the options after them."""
    names = leading(words)
    if not names:
        raise UserError(f"{command} needs a {what} first, for example: kuttax {command} {example}")
    return names, words[len(names) :]


def on_folder(command: str, kind: type[Any], what: str, example: str, words: list[str]) -> int:
    """Run a command on a saved run or comparison."""
    program = f"kuttax {command} {what}"
    if asks_help(words):
        return parse(kind(), words, program)
    folder, rest = _subject(command, what, words, example)
    parsed = parse(kind(), rest, program)
    refuse_unused(parsed.unused(), given(rest))
    return parsed(Path(folder), terminal())


def on_folders(command: str, kind: type[Any], what: str, example: str, words: list[str]) -> int:
    """Run a command on one or several comparisons."""
    program = f"kuttax {command} {what}..."
    if asks_help(words):
        return parse(kind(), words, program)
    names, rest = _subjects(command, what, words, example)
    folders, parsed = [Path(name) for name in names], parse(kind(), rest, program)
    refuse_unused(parsed.unused(folders), given(rest))
    return parsed(folders, terminal())


def on_task(command: str, kind: type[Any], words: list[str]) -> int:
    """Parse the options of a command together with those of its task, and run it."""
    if asks_help(words):
        return _help(command, kind)
    name, rest = _subject(command, "TASK", words, "digits")
    parsed = parsed_on_task(command, kind, name, rest)
    return parsed.command(name, parsed.task, terminal())


def parsed_on_task(command: str, kind: type[Any], name: str, words: list[str]) -> Any:
    """The options of a command on a task, as attributes `command` and `task`.

    Raises:
        UserError: The words cannot be read, or an option has no effect.
    """
    options = task_options(name)
    program = f"kuttax {command} {name}"
    parsed = parse(
        _both(kind, name), words, program, f"{kind.__doc__}\n\nFor example: {_example(program, kind, options)}"
    )
    refuse_unused(parsed.task.unused() | parsed.command.unused(parsed.task), given(words))
    return parsed


def _both(kind: type[Any], name: str) -> Any:
    """The options of a command and of a task at their defaults, as attributes `command` and `task`."""
    options = task_options(name)
    start = _usual(kind, options)  # so that the help shows the task's default settings
    nameless = Annotated[kind, tyro.conf.arg(name="")]  # so that its options have no separate heading in the help
    both = make_dataclass(
        "Options",
        [("task", options, field(default_factory=options)), ("command", nameless, field(default=start))],
        frozen=True,
    )
    return both()


def on_swept(command: str, kind: type[Any], swept: Mapping[str, Callable[[], type[Any]]], words: list[str]) -> int:
    """Run a command that sweeps over the options of another command and its task.

    Args:
        command, kind: The command, and its options.
        swept: The other commands by their names; each function imports the options of one.
        words: The words after the command.
    """
    known, usual = " or ".join(swept), f"kuttax {command} {next(iter(swept))} digits"
    described = lambda program, more: f"{kind.__doc__}\n\n{more}\n\nFor example: {program} {kind.example}"
    if asks_help(words):
        return parse(
            kind(), words, f"kuttax {command} COMMAND TASK", described(usual, f"COMMAND is {known}; see {usual} --help")
        )
    names = leading(words)
    if len(names) != 2 or names[0] not in swept:
        raise UserError(f"{command} needs a COMMAND ({known}) and a TASK first, for example: {usual} {kind.example}")
    other, name = names
    program = f"kuttax {command} {other} {name}"
    about = described(program, f"The options of all runs: kuttax {other} {name} --help")
    parsed, rest = parse_known(kind(), words[2:], program, about)
    refuse_unused(parsed.unused(), given(words))
    other_kind = swept[other]()
    read = partial(parsed_on_task, other, other_kind, name)
    combinations = parsed.combinations(read, flags(_both(other_kind, name)), name, rest)
    return parsed(other, combinations, terminal())


def _example(program: str, kind: type[Any], options: Any) -> str:
    """A command line that works; the commands' own examples name solvers of ODEs."""
    of_command = "" if isinstance(options.calculus, str) else kind.example
    return " ".join(filter(None, [program, options.example, of_command]))


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

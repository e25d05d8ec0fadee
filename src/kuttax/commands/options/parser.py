"""Options from the command line: tyro reads the words and prints the help; this module raises the errors.

On an error tyro prints a box and exits, without an exception that could be caught. So tyro gets nothing to refuse: an
option takes all words that follow it, unknown words are returned, and the dataclasses, which check themselves, are
built after tyro is done.
"""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

import tyro

from ...errors import UserError
from ...options.bounds import OutOfBounds
from ...options.unused import flag
from .reading import RULES, Unread, unwrapped

_CONFIG = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)


def parse(start: Any, arguments: Sequence[str], program: str, about: str | None = None) -> Any:
    """The options `start`, changed by what the command line gives.

    Args:
        start: A dataclass at its defaults. Its fields, and those of the dataclasses in it, are the options; the
            docstrings below them are the help.
        arguments: The words after the command.
        program: The command, for messages and the help.
        about: The start of the help; by default the docstring of the dataclass.

    Raises:
        UserError: An option is unknown, lacks its value, or has one that cannot be read or is out of range.
        SystemExit: The help was printed, on request.
    """
    made, unknown = parse_known(start, arguments, program, about)
    if unknown:
        raise UserError(f"{_unknown(unknown, start)} (see {program} --help)")
    return made


def parse_known(start: Any, arguments: Sequence[str], program: str, about: str | None = None) -> tuple[Any, list[str]]:
    """The options as `parse` reads them, and the words of unknown options, which another part of the program reads.

    Raises:
        UserError: An option lacks its value, or has one that cannot be read or is out of range.
        SystemExit: The help was printed, on request.
    """
    text = {"prog": program, "description": unwrapped(about or type(start).__doc__)}
    rules = {"config": _CONFIG, "registry": RULES, "return_unknown_args": True}
    recipe, unknown = tyro.cli(type(start), default=start, args=arguments, **text, **rules)
    try:
        made = _made(recipe)
        _refuse_repeated(recipe, arguments)
        return made, unknown
    except UserError as error:
        raise UserError(f"{error} (see {program} --help)") from None


def _refuse_repeated(recipe: partial, arguments: Sequence[str]) -> None:
    """Refuse an option that takes several values and is given again: the first values would be lost."""
    for name, value in recipe.keywords.items():
        if isinstance(value, partial):
            _refuse_repeated(value, arguments)
        elif type(value) is tuple and sum(word.partition("=")[0] == flag(name) for word in arguments) > 1:
            raise UserError(f"{flag(name)} is given twice: give all its values behind one {flag(name)}")


def flags(start: Any) -> dict[str, bool]:
    """The flags of a dataclass of options and of those in it: name, without dashes before it -> its default."""
    found = {}
    for option in fields(start):
        value = getattr(start, option.name)
        if is_dataclass(value):
            found |= flags(value)
        elif isinstance(value, bool):
            found[flag(option.name).removeprefix("--")] = value
    return found


def given(arguments: Sequence[str]) -> set[str]:
    """The names of the fields whose options are among the arguments; `--no-distill` counts as `distill` too."""
    words = (word.removeprefix("--").partition("=")[0] for word in arguments if word.startswith("--"))
    names = {word.replace("-", "_") for word in words}
    return names | {name.removeprefix("no_") for name in names}


def _unknown(words: Sequence[str], start: Any) -> str:
    """The error message for unknown words."""
    option = next((word.partition("=")[0] for word in words if word.startswith("-")), None)
    if option is None:
        return f"cannot make sense of {words[0]!r}: it belongs to no option"
    close = difflib.get_close_matches(option.removeprefix("--"), list(_names(start)), 1)
    return f"unknown option {option!r}" + (f"; did you mean --{close[0]}?" if close else "")


def _names(start: Any) -> Iterator[str]:
    """The options of a dataclass, without the dashes before them: those make any two look alike."""
    for option in fields(start):
        value = getattr(start, option.name)
        if is_dataclass(value):
            yield from _names(value)
        else:
            yield flag(f"no_{option.name}" if value is True else option.name).removeprefix("--")


def _made(recipe: partial) -> Any:
    """The dataclass with the fields that tyro has read.

    Raises:
        UserError: The words after an option are not a valid value, or the dataclass refuses the value.
    """
    values = {}
    for name, value in recipe.keywords.items():
        if isinstance(value, Unread):
            raise UserError(f"{flag(name)} {value.why}")
        values[name] = _made(value) if isinstance(value, partial) else value
    try:
        return recipe.func(**values)
    except OutOfBounds as error:
        raise UserError(f"{flag(error.name)} {error.why}") from None

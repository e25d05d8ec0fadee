"""Options from the command line: tyro, with our words for what it refuses."""

import contextlib
import difflib
import io
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from ..errors import UserError
from ..options.unused import flag

_TYPES = ConstructorRegistry()


def parse(kind: Callable[..., Any], arguments: Sequence[str], program: str, about: str | None = None) -> Any:
    """An object of the dataclass `kind`, its fields (and those of the dataclasses in it) read from options.

    Args:
        kind: The dataclass; its attribute docstrings are the help texts.
        arguments: What follows the command.
        program: The command, for messages and the help.
        about: What the help begins with; by default `kind`'s docstring.

    Raises:
        UserError: An option is unknown, lacks its value, or has one that cannot be read or is out of range.
        SystemExit: The help was asked for and printed.
    """
    config = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff, tyro.conf.HelptextFromCommentsOff)
    shown = io.StringIO()
    try:
        with contextlib.redirect_stderr(shown):
            return tyro.cli(kind, args=arguments, prog=program, description=about, config=config, registry=_TYPES)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UserError(f"{_in_flags(complaint(shown.getvalue()))} (see {program} --help)") from None
    except UserError as error:  # of the outermost dataclass, which tyro does not catch
        raise UserError(f"{_in_flags(str(error))} (see {program} --help)") from None


def given(arguments: Sequence[str]) -> set[str]:
    """The names of the fields whose options are among the arguments; `--no-distill` counts as `distill` too."""
    words = (word.removeprefix("--").partition("=")[0] for word in arguments if word.startswith("--"))
    names = {word.replace("-", "_") for word in words}
    return names | {name.removeprefix("no_") for name in names}


def _in_flags(text: str) -> str:
    """A message about a field's bounds as one about its option."""
    return re.sub(r"^([a-z_]+)(?= must (be|lie) )", lambda name: flag(name[1]), text)


def complaint(box: str) -> str:
    """What tyro's box of an error says, in one line and without its hints."""
    plain = re.sub(r"\x1b\[[0-9;]*m|[\u2500-\u257f]", " ", box)
    lines = [line.strip() for line in plain.splitlines() if line.strip(" -")]  # rules are dashes where not UTF-8
    end = next((i for i, line in enumerate(lines) if i > 1 and line.startswith(_HINTS)), len(lines))
    text = " ".join(lines[1:end]) or "the options cannot be read"
    if text.startswith("Unrecognized options: "):
        return _unknown(text.partition(": ")[2], [line.split()[0] for line in lines[end:] if line.startswith("--")])
    for pattern, words in _WORDS:
        text = re.sub(pattern, words, text)
    return text


_HINTS = ("Perhaps", "Argument helptext", "For full", "Did you mean", "Similar")
_WORDS = (
    (r"^Missing value for argument '(--\S+)'\. .*", r"\1 needs a value"),
    (r"^invalid choice '(.*)' for argument '(--\S+)'\. Expected one of \((.*)\)\.", r"\2 must be one of \3, got '\1'"),
    (r"^Error parsing (--\S+): must", r"\1 must"),
    (r"^Error parsing [^-\s][\w.]*: ", ""),
)


def _unknown(given: str, similar: list[str]) -> str:
    options = [word.partition("=")[0] for word in given.split(", ") if word.startswith("-")]
    if not options:
        return f"cannot make sense of {given.partition(', ')[0]!r}: it belongs to no option"
    close = difflib.get_close_matches(options[0], similar, 1)
    return f"unknown option {options[0]!r}" + (f"; did you mean {close[0]}?" if close else "")


@_TYPES.primitive_rule
def _number(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Numbers, or None where they are not given."""
    for kind, what in ((int, "a whole number"), (float, "a number")):
        if _bare(info.type) in (kind, kind | None):
            return _one(kind, kind.__name__.upper(), what)
    return None


@_TYPES.primitive_rule
def _several(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Whole numbers or words, as many as there are, or None where the option is not given."""
    for kind in (int, str):
        if _bare(info.type) == tuple[kind, ...] | None:
            return _many(kind, f"[{kind.__name__.upper()} ...]")
    return None


@_TYPES.primitive_rule
def _directory(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """A path, or None where it is not given; every path among the options is a directory."""
    return _one(Path, "DIR", "a path") if info.type == Path | None else None


@cache
def _bare(kind: Any) -> Any:
    """The type without what its parts are annotated with, as their bounds."""

    class Holder:
        __annotations__ = {"kind": kind}

    return get_type_hints(Holder)["kind"]


def _one(kind: type, metavar: str, what: str) -> PrimitiveConstructorSpec:
    def read(arguments: list[str]) -> Any:
        try:
            return kind(arguments[0])
        except ValueError:
            raise ValueError(f"must be {what}, got {arguments[0]!r}") from None

    def show(value: Any) -> list[str]:
        return [str(value)]

    def fits(value: Any) -> bool:
        return value is None or isinstance(value, kind)

    return PrimitiveConstructorSpec(
        nargs=1, metavar=metavar, instance_from_str=read, is_instance=fits, str_from_instance=show
    )


def _many(kind: type, metavar: str) -> PrimitiveConstructorSpec:
    def read(arguments: list[str]) -> Any:
        try:
            return tuple(map(kind, arguments))
        except ValueError:
            raise ValueError(f"must be whole numbers with spaces between, got {' '.join(arguments)!r}") from None

    def show(value: Any) -> list[str]:
        return ["None"] if value is None else list(map(str, value))

    def fits(value: Any) -> bool:
        return value is None or (isinstance(value, tuple) and all(isinstance(item, kind) for item in value))

    return PrimitiveConstructorSpec(
        nargs="*", metavar=metavar, instance_from_str=read, is_instance=fits, str_from_instance=show
    )

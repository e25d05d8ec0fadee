"""Reading: rules for tyro on dataclasses of options, and on words that are values.

They are rules of tyro's registry. If a rule raised, tyro would print a box and exit. So these rules put `Unread` in the
value's place, and `parser` raises the error.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from ...options.bounds import OutOfBounds
from .seeds import Seeds
from .shard import Shard
from .varied import Varied

RULES = ConstructorRegistry()
"""For dataclasses, numbers, words, choices, paths, seeds, shards and varied options; tyro handles flags."""


class Unread(NamedTuple):
    """Words that are not a valid value of their option.

    Attributes:
        why: "must be a number, got 'fast'".
    """

    why: str


class _Kind(NamedTuple):
    """A kind of value: its name in the help, its name in messages, the function that converts a word, and the name of
    several in messages."""

    metavar: str
    what: str
    read: Callable[[str], Any]
    several: str = ""


_KINDS = {
    int: _Kind("INT", "a whole number", int, "whole numbers"),
    float: _Kind("FLOAT", "a number", float),
    str: _Kind("NAME", "one word", str, "words"),
    Path: _Kind("DIR", "one path", Path),
    Seeds: _Kind("COUNT|SEED,...", "a whole number, or several with commas between", Seeds.read),
    Shard: _Kind("K/N", "a part of all runs, such as 2/20", Shard.read),
    Varied: _Kind("OPTION=VALUE,...", "", Varied.read, "options with values, such as lr=0.001,0.01 width=8,16,"),
}


def unwrapped(text: str | None) -> str:
    """The paragraphs of a docstring, one line each, since the help is as wide as the terminal."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in (text or "").split("\n\n"))


@RULES.struct_rule
def _dataclass(info: StructTypeInfo) -> StructConstructorSpec | None:
    """The fields of a dataclass that has a default, and a recipe to build it later."""
    kind, start = info.type, info.default
    if not is_dataclass(kind):
        return None

    def recipe(**values: Any) -> partial:
        return partial(kind, **values)

    found = [_field(kind, option.name, getattr(start, option.name)) for option in fields(kind)]
    return StructConstructorSpec(recipe, tuple(found))


def _field(kind: type, name: str, default: Any) -> StructFieldSpec:
    """A field, its help and its default; the help shows no default for a flag or for None."""
    annotated: Any = get_type_hints(kind, include_extras=True)[name]
    if is_dataclass(default):
        return StructFieldSpec(name, annotated, default, unwrapped(type(default).__doc__))
    own = annotated.__metadata__ if get_origin(annotated) is Annotated else ()
    hint = tyro.conf.arg(help_behavior_hint="" if default is None or isinstance(default, bool) else None)
    bare: Any = Annotated[(get_type_hints(kind)[name], *own, hint)]
    return StructFieldSpec(name, bare, default, lambda: _docstrings(kind).get(name))


@cache
def _docstrings(kind: type) -> dict[str, str]:
    """Field -> the docstring below it, of the nearest class that has one."""
    found: dict[str, str] = {}
    owners: list[type] = [owner for owner in reversed(kind.__mro__) if is_dataclass(owner)]
    for owner in owners:
        tree: Any = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        for line, after in pairwise(tree.body):
            match line, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = unwrapped(text)
    return found


@RULES.primitive_rule
def _value(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """A number, word, choice or path, or several; None is for options that are not given, and has no word."""
    kind: Any = info.type
    if NoneType in get_args(kind):
        (kind,) = (part for part in get_args(kind) if part is not NoneType)
    if get_origin(kind) is tuple:
        return _several(_KINDS[get_args(kind)[0]])
    if get_origin(kind) is Literal:
        names = {name: name for name in get_args(kind)}
        return _one(_Kind(f"{{{','.join(names)}}}", f"one of {', '.join(map(repr, names))}", names.__getitem__))
    return _one(_KINDS[kind]) if kind in _KINDS else None


def _one(kind: _Kind) -> PrimitiveConstructorSpec:
    """An option with one value."""

    def read(words: list[str]) -> Any:
        if not words:
            return Unread("needs a value")
        try:
            (word,) = words
            return kind.read(word)
        except OutOfBounds as error:
            return Unread(error.why)
        except (ValueError, KeyError):
            return Unread(f"must be {kind.what}, got {' '.join(words)!r}")

    return _spec(kind.metavar, read, lambda value: [str(value)])


def _several(kind: _Kind) -> PrimitiveConstructorSpec:
    """An option with any number of values."""

    def read(words: list[str]) -> Any:
        try:
            return tuple(map(kind.read, words))
        except ValueError:
            return Unread(f"must be {kind.several} with spaces between, got {' '.join(words)!r}")

    return _spec(f"[{kind.metavar} ...]", read, lambda values: list(map(str, values)))


def _spec(metavar: str, read: Callable[[list[str]], Any], show: Callable[[Any], list[str]]) -> PrimitiveConstructorSpec:
    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=metavar,
        instance_from_str=read,
        is_instance=lambda value: True,
        str_from_instance=lambda value: [] if value is None else show(value),
    )

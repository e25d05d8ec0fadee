"""Shapes: the required structure of data in a JSON file.

A shape is one of

- `str`, `int`, `float` (whole numbers too), `bool`, `None`, or `object` for anything;
- `Literal["one", "other"]`: one of these values;
- a tuple of shapes: one of these;
- `[shape]`: a list of such;
- `{"name": shape, "name?": shape}`: an object with these fields, and perhaps others; one with a question mark may be
  missing;
- `{str: shape}`: an object with any names and such values.
"""

import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

Shape = Any
"""A shape, as described in the module docstring."""

NUMBER = (float, None)
"""A number, or null for one that was not finite."""

_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", None: "null"}


def shape_of(kind: Any) -> Shape:
    """The shape of the JSON form of a type's values: text for a path, a list for a tuple."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return tuple(map(shape_of, arguments))
    if origin in (tuple, list):
        return [tuple(shape_of(one) for one in arguments if one is not ...)]
    if isinstance(kind, type) and issubclass(kind, Path):
        return str
    return None if kind is type(None) else kind if origin is Literal or kind in _WORDS else object


def mismatch(value: Any, shape: Shape, name: str = "the whole") -> str | None:
    """What is wrong with a value, as text; None if it has the shape.

    Args:
        value: A value from `json.loads`.
        shape: The required shape.
        name: The value's name in the message.
    """
    if isinstance(shape, tuple):
        return None if any(mismatch(value, one) is None for one in shape) else _wrong(value, shape, name)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return _wrong(value, shape, name)
        return _first(mismatch(item, shape[0], f"{_of(name)}[{i}]") for i, item in enumerate(value))
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return _wrong(value, shape, name)
        return _fields(value, shape, name)
    return None if _is(value, shape) else _wrong(value, shape, name)


def _fields(value: dict[str, Any], shape: dict[Any, Shape], name: str) -> str | None:
    if str in shape:
        return _first(mismatch(item, shape[str], f"{_of(name)}.{key}".lstrip(".")) for key, item in value.items())
    for field, inner in shape.items():
        key = field.removesuffix("?")
        if key in value:
            found = mismatch(value[key], inner, f"{_of(name)}.{key}".lstrip("."))
            if found is not None:
                return found
        elif not field.endswith("?"):
            return f"{_of(name)}.{key} is missing".lstrip(".")
    return None


def _is(value: Any, shape: Shape) -> bool:
    """Whether a value is of a simple kind. For Python, True is a whole number; for JSON it is not."""
    if shape is object:
        return True
    if shape is None:
        return value is None
    if get_origin(shape) is Literal:
        return value in get_args(shape)
    if isinstance(value, bool):
        return shape is bool
    return isinstance(value, int | float) if shape is float else isinstance(value, shape)


def _first(found: Any) -> str | None:
    return next((text for text in found if text is not None), None)


def _of(name: str) -> str:
    return "" if name == "the whole" else name


def _wrong(value: Any, shape: Shape, name: str) -> str:
    text = repr(value) if len(repr(value)) <= 40 else repr(value)[:37] + "..."
    return f"{name} must be {_said(shape)}, but is {text}"


def _said(shape: Shape) -> str:
    if isinstance(shape, tuple):
        return " or ".join(map(_said, shape))
    if get_origin(shape) is Literal:
        return " or ".join(map(repr, get_args(shape)))
    return "a list" if isinstance(shape, list) else "an object" if isinstance(shape, dict) else _WORDS[shape]

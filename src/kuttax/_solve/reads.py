"""The values that a plain Python field reads beside its arguments, so that a compiled solve notices their changes.

JAX compiles a function once, with the function's identity as the key. Without this check, a field that reads an
attribute, a global variable or a NumPy array would keep its first answer after these have changed.
"""

import dataclasses
import functools
import sys
import types
import weakref
import zlib
from collections.abc import Hashable, Iterator
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_LIBRARIES = ("jax", "jaxlib", "numpy", "scipy", "equinox", "diffrax", "optax", "optimistix", "jaxtyping", "kuttax")
_DEEPEST, _MOST = 8, 10_000  # limits on the depth of nested attributes, and on the number of values
_LARGE = 2**24  # bytes of an array up to which all of them count
_STATIC: dict[Any, tuple[Any, ...]] = {}
_CHANGED: "weakref.WeakKeyDictionary[Any, tuple[Hashable, Hashable]]" = weakref.WeakKeyDictionary()


def reads(field: Any) -> Hashable:
    """A hashable value that differs if a value that `field` reads beside its arguments differs.

    It covers the variables that functions close over, their defaults, the globals that they name, the objects of bound
    methods, and attributes of objects and their classes: numbers and text by value, NumPy arrays by their bytes (a
    sample of them for a large array), JAX arrays, which never change, by identity. Arrays in an Equinox module are
    arguments of the compiled program. Values inside libraries count as constant.
    """
    now = tuple(_Look().of(field, _DEEPEST))
    after, before = _CHANGED.get(field, (None, None)) if _can_be_noted(field) else (None, None)
    return before if now == after else now


def beside_arrays(tree: Any) -> list[Any]:
    """The values in a tree, modules included, that are not arguments of a compiled program."""
    leaves = jax.tree.leaves(tree, is_leaf=lambda x: isinstance(x, eqx.Module))
    return [x for x in leaves if not _is_argument(x)]


def note_own_changes(field: Any, before: Hashable) -> None:
    """Do not recompile for changes that the field itself made while it was traced or run, such as a call counter."""
    now = tuple(_Look().of(field, _DEEPEST))
    if now != before and _can_be_noted(field):
        _CHANGED[field] = (now, before)


def _can_be_noted(field: Any) -> bool:
    return isinstance(field, types.FunctionType | types.MethodType)


class _Look:
    """One traversal of all reachable values."""

    def __init__(self):
        self.seen: set[int] = set()

    def of(self, value: Any, depth: int) -> Iterator[Hashable]:
        """The parts of a value that can change."""
        if isinstance(value, Tracer):  # the code that watches a trace keeps it
            return
        if isinstance(value, _PLAIN):
            yield type(value), value if value == value else "nan"
        elif isinstance(value, np.ndarray | np.generic) and not np.asarray(value).dtype.hasobject:
            yield _bytes_of(np.asarray(value))
        elif depth == 0 or id(value) in self.seen or len(self.seen) > _MOST or isinstance(value, jax.Array):
            yield id(value)
        else:
            self.seen.add(id(value))
            yield type(value)
            for part in _parts(value):
                yield from self.of(part, depth - 1)


def _parts(value: Any) -> Iterator[Any]:
    """The values that are one step away from a value."""
    match value:
        case types.FunctionType():
            yield from () if _is_library(value.__module__) else _of_function(value)
        case types.MethodType():
            yield from (value.__func__, value.__self__)
        case functools.partial():
            yield from (value.func, value.args, value.keywords)
        case type():
            yield from () if _is_library(value.__module__) else _data(vars(value))
        case dict():
            yield from (x for item in value.items() for x in item)
        case list() | tuple():
            yield from value
        case set() | frozenset():
            yield from sorted(value, key=repr)
        case np.ndarray():
            yield from value.ravel().tolist()
        case eqx.Module():
            leaves, structure = jax.tree.flatten(value)
            yield from (x for x in leaves if not _is_argument(x))
            yield from _static_parts(value, structure)
        case types.ModuleType():
            return
        case _ if not _is_library(getattr(value, "__module__", None)):
            yield getattr(value, "__wrapped__", None)
            yield type(value)
            yield from vars(value).values() if isinstance(getattr(value, "__dict__", None), dict) else ()
            slots = (name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ()))
            yield from (getattr(value, name, None) for name in slots if not name.startswith("__"))


def _is_argument(leaf: Any) -> bool:
    """Whether a compiled program takes this as an argument, or compares it by its value."""
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | int | float | None)


def _static_parts(module: eqx.Module, structure: Any) -> tuple[Any, ...]:
    """Objects in the static fields of a module and of its submodules, which JAX compares by identity."""
    if structure not in _STATIC:
        if len(_STATIC) >= _MOST:
            _STATIC.clear()
        _STATIC[structure] = tuple(x for x in _statics(module) if not isinstance(x, _PLAIN))
    return _STATIC[structure]


def _statics(module: eqx.Module) -> Iterator[Any]:
    for field in dataclasses.fields(module):
        part = getattr(module, field.name, None)
        if field.metadata.get("static", False):
            yield part
        else:
            for leaf in jax.tree.leaves(part, is_leaf=lambda x: isinstance(x, eqx.Module)):
                yield from _statics(leaf) if isinstance(leaf, eqx.Module) else ()


def _of_function(function: types.FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    names = list(_names(function.__code__))
    for name in names:
        found = function.__globals__.get(name)
        if isinstance(found, types.ModuleType) and not _is_library(found.__name__):
            yield from (vars(found).get(name) for name in names)
        else:
            yield found


def _names(code: types.CodeType) -> Iterator[str]:
    """Globals and attributes that a function, and the functions defined inside it, name."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _data(attributes: Any) -> Iterator[Any]:
    """The attributes of a class that are not functions."""
    for name, value in attributes.items():
        if not name.startswith("__") and isinstance(value, (*_PLAIN, np.ndarray, list, tuple, dict)):
            yield value


def _bytes_of(array: np.ndarray) -> Hashable:
    stride = max(1, array.nbytes // _LARGE)
    flat = np.ascontiguousarray(array).reshape(-1)[::stride]
    return array.shape, array.dtype.str, zlib.crc32(flat.tobytes())


def _is_library(module: str | None) -> bool:
    """Whether the functions of a module do not change while a program runs."""
    top = (module or "").partition(".")[0]
    return top in _LIBRARIES or (top in sys.stdlib_module_names and top != "__main__")

"""Lazy packages: a public name is imported when it is first used (PEP 562), so that a program loads only what it uses.

Type checkers do not look in here: beside its lazy names, a package imports the same ones under `TYPE_CHECKING`.
`tests/test_public.py` compares the two.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

Getter = Callable[[str], Any]
Lister = Callable[[], list[str]]


def lazy_names(
    package: str, module_of: Mapping[str, str], modules: Iterable[str] = ()
) -> tuple[Getter, Lister, list[str]]:
    """The `__getattr__`, `__dir__` and `__all__` of a package.

    Args:
        package: Its `__name__`.
        module_of: Name -> the module to import it from, as in a `from` statement: ".rk.fixed". No module of the package
            may have such a name: its import would put the module in the name's place.
        modules: Public modules, ".tasks"; their names are the last parts of these.
    """
    known = {path.rpartition(".")[2]: path for path in modules}

    def get(name: str) -> Any:
        if name in known:
            value = import_module(known[name], package)
        elif name in module_of:
            value = getattr(import_module(module_of[name], package), name)
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, value)  # so that the next use is as fast as any
        return value

    names = sorted([*known, *module_of])
    return get, names.copy, [name for name in names if not name.startswith("_")]


def lazy_module(package: str, module: str) -> tuple[Getter, Lister]:
    """The `__getattr__` and `__dir__` of a package that exports all of one of its modules, `__all__` included."""

    def load() -> Any:
        return import_module(module, package)

    def get(name: str) -> Any:
        if name != "__all__" and (name.startswith("_") or name not in load().__all__):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(load(), name)

    return get, lambda: list(load().__all__)

"""The public surface: what `__all__` names exists, is what the pages import, and nothing else shows."""

import ast
import importlib
import importlib.metadata
import pickle
import re
from pathlib import Path

import pytest

import kuttax as kx

ROOT = Path(__file__).parents[1]
MODULES = {"kuttax": kx, **{f"kuttax.{n}": getattr(kx, n) for n in kx.__all__ if hasattr(getattr(kx, n), "__path__")}}
PAGES = [*sorted(ROOT.glob("docs/*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_exists_once(name):
    module = MODULES[name]
    assert len(set(module.__all__)) == len(module.__all__)
    assert all(hasattr(module, public) for public in module.__all__)


def test_nothing_else_shows():
    assert set(dir(kx)) == {*kx.__all__, "__version__"}
    assert not [name for name in kx.__all__ if name.startswith("_")]
    with pytest.raises(AttributeError, match=r"module 'kuttax\.penalties' has no attribute 'Unknown'"):
        kx.penalties.Unknown  # noqa: B018


LAZY = [kx, kx.solvers, kx.tasks]


def imports_for_type_checkers(package) -> dict[str, str]:
    """Public name -> the module that the package imports it from under `TYPE_CHECKING`."""
    (block,) = [node for node in ast.parse(Path(package.__file__).read_text()).body if isinstance(node, ast.If)]
    names = {}
    for line in block.body:
        module = "." * line.level + (line.module or "")
        for one in line.names:
            assert one.name == (one.asname or one.name), "a type checker takes an import under its own name as public"
            names |= {name: module for name in kx.solvers.__all__} if one.name == "*" else {one.name: module}
    return names


@pytest.mark.parametrize("package", LAZY, ids=lambda package: package.__name__)
def test_type_checkers_see_the_public_names(package):
    """The names, and for each one the same object, since its module is found in the same way."""
    names = imports_for_type_checkers(package)
    assert names.keys() == set(dir(package)) - {"solvers"}
    for name, module in names.items():
        found = importlib.import_module(module, package.__name__)
        assert getattr(package, name) is getattr(found, name)


@pytest.mark.parametrize("package", LAZY, ids=lambda package: package.__name__)
def test_no_module_takes_the_place_of_a_lazy_name(package):
    """An import of such a module would set the package's attribute to it."""
    modules = {path.stem for path in Path(package.__file__).parent.iterdir()}
    taken = {name for name in modules & set(package.__all__) if getattr(package, name).__name__ != f"kuttax.{name}"}
    assert not taken


def test_all_are_imported_by_a_star():
    names = {}
    exec("from kuttax import *", names)
    assert all(names[name] is getattr(kx, name) for name in kx.__all__)


@pytest.mark.parametrize("name", ["FixedSteps", "Status", "GlobalError", "fit"])
def test_lazy_names_are_pickled_by_where_they_are_defined(name):
    assert pickle.loads(pickle.dumps(getattr(kx, name))) is getattr(kx, name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_import_public_names_alone(page):
    found = re.findall(r"^\s*from (kuttax[\w.]*) import ([\w, ]+)$", page.read_text(), re.MULTILINE)
    private = [
        (m, n) for m, names in found for n in names.split(", ") if m not in MODULES or n not in MODULES[m].__all__
    ]
    assert not private


def test_one_version():
    version = importlib.import_module("kuttax._version").__version__
    assert kx.__version__ == version == importlib.metadata.version("kuttax")
    lines = [line for path in (ROOT / "src").rglob("*.py") for line in path.read_text().splitlines()]
    assert sum(f'"{version}"' in line for line in lines) == 1

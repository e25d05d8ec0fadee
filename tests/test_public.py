"""The public surface: what `__all__` names exists, is what the pages import, and nothing else shows."""

import importlib
import importlib.metadata
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
    assert set(dir(kx)) == set(kx.__all__)
    assert not [name for name in kx.__all__ if name.startswith("_")]


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

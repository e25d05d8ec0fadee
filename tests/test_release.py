"""The release: what the distributions hold, and the versions that are tested."""

import os
import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from benchmarks.libraries import LIBRARIES

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ".ci/constraints.txt"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
BUILD = PROJECT["tool"]["hatch"]["build"]["targets"]
IN_SDIST = {name.removeprefix("/") for name in BUILD["sdist"]["include"]} | {"pyproject.toml"}


def test_the_source_distribution_holds_what_tests_pages_and_make_read():
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    pages = "".join(path.read_text() for path in (ROOT / "docs").rglob("*.md"))
    read = {*re.findall(r'ROOT / "([^"/]+)', tests), *re.findall(r"\(\.\./([^/)]+)/", pages), "Makefile", "mkdocs.yml"}
    assert {".ci", "docs", "experiments", "README.md"} < read, "the patterns still find what is read"
    assert {name for name in read if (ROOT / name).exists()} <= IN_SDIST
    assert all((ROOT / name).exists() for name in IN_SDIST - {".gitignore"})


def test_the_wheel_is_the_package_with_its_types():
    assert BUILD["wheel"] == {"packages": ["src/kuttax"]}
    assert (ROOT / "src" / "kuttax" / "py.typed").exists()


def constraints() -> dict[str, Version]:
    """The version of each package that .ci/run installs."""
    lines = [line for line in (ROOT / CONSTRAINTS).read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in (line.split("==") for line in lines)}


def test_the_constraints_pin_a_version_that_pyproject_allows_of_every_requirement():
    extras = PROJECT["project"]["optional-dependencies"]
    required = [Requirement(line) for line in (*PROJECT["project"]["dependencies"], *extras["dev"], *extras["docs"])]
    pinned = constraints()
    for one in required:
        assert canonicalize_name(one.name) in pinned, one
        assert one.specifier.contains(pinned[canonicalize_name(one.name)]), one


def test_the_constraints_pin_what_those_packages_require():
    pinned = constraints()
    for name in pinned:
        try:
            needed = [Requirement(line) for line in metadata.requires(name) or ()]
        except metadata.PackageNotFoundError:
            continue
        for one in needed:
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                assert canonicalize_name(one.name) in {*pinned, "setuptools"}, f"{one} of {name}"


def test_the_check_of_a_change_installs_the_pinned_versions():
    check = (ROOT / ".ci" / "run").read_text()
    assert f"CONSTRAINTS=${{CONSTRAINTS-{CONSTRAINTS}}}" in check
    packages = set(next(line for line in check.splitlines() if "torch==2.13.0" in line).split())
    assert packages - {"torch==2.13.0"} <= constraints().keys() and "torch" not in constraints()


@pytest.mark.parametrize(("value", "pins"), [(CONSTRAINTS, True), ("", False), (None, False)])
def test_make_setup_takes_the_newest_versions_unless_it_is_given_constraints(value, pins):
    clean = {name: text for name, text in os.environ.items() if name not in ("CONSTRAINTS", "MAKEFLAGS", "MAKELEVEL")}
    given = {} if value is None else {"CONSTRAINTS": value}
    command = ["make", "--dry-run", "--always-make", "setup"]
    shown = subprocess.run(command, cwd=ROOT, env=clean | given, capture_output=True, text=True, check=True).stdout
    assert ("--editable" in shown, f"--constraint {CONSTRAINTS}" in shown) == (True, pins)


def test_libraries_on_pytorch_have_an_environment_without_kuttax():
    lines = (ROOT / "benchmarks" / "requirements.txt").read_text().splitlines()
    listed = {Requirement(line).name for line in lines if not line.startswith("#")}
    assert listed == {package for library in LIBRARIES.values() if library.torch for package in library.packages}
    assert "torchode" not in str(PROJECT["project"]["optional-dependencies"])

"""The release: what the distributions hold, and the versions that are tested."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from benchmarks.libraries import LIBRARIES

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_libraries_on_pytorch_have_an_environment_without_kuttax():
    lines = (ROOT / "benchmarks" / "requirements.txt").read_text().splitlines()
    listed = {Requirement(line).name for line in lines if not line.startswith("#")}
    assert listed == {package for library in LIBRARIES.values() if library.torch for package in library.packages}
    assert "torchode" not in str(PROJECT["project"]["optional-dependencies"])

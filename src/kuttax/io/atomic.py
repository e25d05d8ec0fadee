"""Files that are written replacing or not at all."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PARTIAL = ".partial"
"""The end of the name of a file that is being written."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to that takes the place of `path` at the end, and is removed if writing fails.

    An error of the disk names `path`, also where the operating system does not say it.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        with naming(path):
            yield partial
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, replacing or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Any) -> None:
    """Write JSON, replacing or not at all; a number that JSON does not have is an error."""
    write_text(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the disk name a file: a write to a full disk raises one that names none."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise

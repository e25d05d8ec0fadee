"""Files that are written whole or not at all."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write to that takes the place of `path` at the end, and is removed if writing fails."""
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, data: Any) -> None:
    """Write JSON, whole or not at all; a number that JSON does not have is an error."""
    with whole(path) as partial:
        partial.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n")

"""Records: the results of runs, one JSON object a line (JSONL). Measuring writes them, drawing only reads them."""

import json
import math
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError
from . import json_file
from .atomic import naming, replacing
from .shape import Shape, mismatch

Record = dict[str, Any]


def append(path: str | os.PathLike[str], record: Mapping[str, Any]) -> None:
    """Add one record as the last line of a file and wait until it is on the disk.

    One write call writes the line with its final newline, so a kill leaves at most one incomplete last line. An
    incomplete line from an earlier kill is cut off first: the new record after it would spoil both. Only one process
    may write to a file.

    Args:
        path: the JSONL file; it and its folder are created if they do not exist.
        record: a JSON object. NumPy scalars and arrays are written as numbers and lists, NaN and infinities as `null`,
            because JSON has no such numbers.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = _line(record)
    with naming(path), open(path, "a+b") as file:
        file.write(_mend_tail(file) + line)
        file.flush()
        os.fsync(file.fileno())


def read(
    path: str | os.PathLike[str],
    shape: Callable[[Record], Shape] = lambda _: object,
    check: Callable[[], object] = lambda: None,
) -> list[Record]:
    """All records of a file, in the order of writing.

    Args:
        path: a JSONL file as `append` writes it. Blank lines are skipped.
        shape: the required shape of a record (`kuttax.io.shape`), which may depend on its kind.
        check: raises if the file is a wrong one; called after the records are read, before a warning.

    Returns:
        One dictionary a line. An incomplete last line (no newline at its end, not a JSON object: the writer was killed)
        is left out with a `RuntimeWarning`.

    Raises:
        UserError: the file does not exist, a complete line is not a JSON object, or a record has another shape; the
            message names `file:line`.
    """
    try:
        content = Path(path).read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise UserError(f"no records at {path}: name a folder or file that a kuttax run wrote") from None
    lines = content.split(b"\n")
    records, torn = [], None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        record = _parse(line)
        wrong = None if record is None else mismatch(record, shape(record))
        if wrong is not None:
            raise UserError(f"{path}:{number}: {wrong}; mend or delete this line")
        if record is not None:
            records.append(record)
        elif number == len(lines):  # no newline follows: the write was interrupted
            torn = number
        else:
            raise UserError(f"{path}:{number}: not a JSON object: {_excerpt(line)}; mend or delete this line")
    check()
    if torn is not None:
        warnings.warn(f"{path}:{torn}: torn last line ignored (its run was killed)", RuntimeWarning, stacklevel=2)
    return records


def keep(path: str | os.PathLike[str], wanted: Callable[[Record], bool], shape: Shape = object) -> None:
    """Remove unwanted records from a file, and an incomplete last line; nothing happens without a file.

    The file is replaced atomically.

    Raises:
        UserError: as `read`.
    """
    path = Path(path)
    if not path.exists():
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # about an incomplete last line, which is removed
        kept = [record for record in read(path, lambda _: shape) if wanted(record)]
    with replacing(path) as partial:
        partial.write_bytes(b"".join(map(_line, kept)))


def _mend_tail(file) -> bytes:
    """Cut an incomplete last line off an open file; returns the newline that a complete last line without one needs."""
    start = file.seek(0, os.SEEK_END)
    if start == 0:
        return b""
    tail = b""
    while start > 0 and b"\n" not in tail:
        block = min(start, 4096)
        start = file.seek(start - block)
        tail = file.read(block) + tail
    tail = tail.rpartition(b"\n")[2]
    if not tail:
        return b""
    if _parse(tail) is not None:
        return b"\n"
    file.truncate(file.seek(-len(tail), os.SEEK_END))
    return b""


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(as_json(record), allow_nan=False).encode() + b"\n"


def _parse(line: bytes) -> Record | None:
    """The object on a line; None if there is none."""
    try:
        value = json_file.parse(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _excerpt(line: bytes) -> str:
    text = line.decode(errors="replace").strip()
    return repr(text if len(text) <= 60 else text[:57] + "...")


def as_json(value: Any) -> Any:
    """Strict JSON: NumPy values as Python's, non-finite numbers as None."""
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy and JAX, scalars and arrays
        return as_json(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value

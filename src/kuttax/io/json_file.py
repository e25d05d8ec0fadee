"""Strict JSON files: an error is one line that names the file and the defect.

A sealed file is an object with its own SHA-256 in the field `sha256`, so that a change of its data is detected.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from ..errors import UserError
from .atomic import write_json
from .shape import Shape, mismatch

_SEAL = "sha256"
_LARGEST = 2**63  # limit on whole numbers: larger ones do not fit into NumPy's integers
_LARGEST_NUMBER = 1e150  # statistics and plots square numbers


def parse(content: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: It is not UTF-8 or not JSON; a name occurs twice; a number is not finite, has a square that is not,
            or is a whole number of more than 64 bits; or brackets are nested too deeply. The message is one line.
    """
    try:
        return json.loads(
            content.decode(),
            object_pairs_hook=_object,
            parse_constant=_refuse,
            parse_int=_whole_number,
            parse_float=_number,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text: byte {error.start}") from None
    except RecursionError:
        raise ValueError("brackets are nested too deeply") from None


def read(path: Path, shape: Shape, mend: str) -> Any:
    """The value in a JSON file.

    Args:
        path: The file.
        shape: Its required shape.
        mend: The advice in the message.

    Raises:
        UserError: The file is not JSON, or has another shape.
        OSError: It cannot be read.
    """
    try:
        value = parse(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): {mend}") from None
    wrong = mismatch(value, shape)
    if wrong is not None:
        raise UserError(f"{path} is damaged ({wrong}): {mend}")
    return value


def write_sealed(path: Path, data: Mapping[str, Any]) -> None:
    """Write an object with its SHA-256, atomically."""
    write_json(path, {**data, _SEAL: _digest(data)})


def opened(data: dict[str, Any], path: Path, mend: str) -> dict[str, Any]:
    """The object of a sealed file, without its seal. An object without a seal, of an earlier version, is unchanged.

    Raises:
        UserError: The data were changed after sealing.
    """
    rest = {name: value for name, value in data.items() if name != _SEAL}
    if _SEAL in data and data[_SEAL] != _digest(rest):
        raise UserError(f"{path} is damaged (its SHA-256 is not the one that it states): {mend}")
    return rest


def _digest(data: Mapping[str, Any]) -> str:
    """The digest of the data, not of the text: spaces and the order of names do not matter."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number in JSON")


def _whole_number(text: str) -> int:
    if len(text) > 20 or not -_LARGEST <= int(text) < _LARGEST:
        raise ValueError(f"{text[:20]}... is a whole number of more than 64 bits")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if abs(value) > _LARGEST_NUMBER:
        raise ValueError(f"{text[:20]} is too large")
    return value

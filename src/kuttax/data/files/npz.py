"""NumPy files from outside: never unpickled, no larger than their headers say, and with one-line errors."""

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from ...errors import UserError

# What zipfile and NumPy raise on files that are truncated, altered, encrypted, or not archives at all.
_DEFECTS = (
    *(OSError, ValueError, EOFError, KeyError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
)

_MOST_UNPACKED = 1 << 30  # bytes of a compressed array; an uncompressed one is as large as its file
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_npz(path: Path, keys: Sequence[str]) -> list[np.ndarray]:
    """Reads the arrays `keys` from the archive at `path`, without unpickling anything.

    Raises:
        UserError: As `read_arrays`.
    """
    arrays = read_arrays(path, keys)
    return [arrays[key] for key in keys]


def read_arrays(path: Path, keys: Sequence[str], optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Reads the arrays `keys`, and those of the `optional` ones that exist, without unpickling anything.

    Raises:
        UserError: If the file is not a NumPy archive, is truncated or corrupt, or lacks one of the keys.
    """
    try:
        with path.open("rb") as file:
            present = [] if file.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX else _names(file)
            missing = [key for key in keys if key not in present]
            wanted = [*keys, *(key for key in optional if key in present)]
            arrays = {} if missing else _arrays(file, wanted)
    except _DEFECTS as error:
        raise UserError(f"{path}: not a readable NumPy archive ({_one_line(error)}); fetch it again") from error
    if missing:
        found = ", ".join(present) or "none"
        raise UserError(f"{path}: lacks {', '.join(missing)} (keys found: {found}); expected {', '.join(keys)}")
    return arrays


def read_npy(path: Path) -> np.ndarray:
    """Reads the one array of an NPY file, without unpickling anything.

    Raises:
        UserError: If it is no NPY file, or is truncated or corrupt.
    """
    try:
        with path.open("rb") as file:
            return _array(file, path.stat().st_size)
    except _DEFECTS as error:
        raise UserError(f"{path}: not a readable NPY file ({_one_line(error)}); write it again") from error


def _names(file: IO[bytes]) -> list[str]:
    """The names of the arrays in an archive."""
    with zipfile.ZipFile(file) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def _arrays(file: IO[bytes], names: Sequence[str]) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        found = {}
        for name in names:
            member = archive.getinfo(f"{name}.npy")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{name} is compressed in a way that NumPy does not write")
            if member.compress_type != zipfile.ZIP_STORED and member.file_size > _MOST_UNPACKED:
                raise ValueError(f"{name} unpacks to more than {_MOST_UNPACKED >> 20} MiB")
            with archive.open(member) as inner:
                found[name] = _array(inner, member.file_size)
        return found


def _array(file: IO[bytes], size: int) -> np.ndarray:
    """The array in an open file of that many bytes; nothing is allocated unless its header states the same size."""
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"version {version} of the format, expected 1.0 or 2.0")
    shape, _, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError("Python objects, which are never unpickled")
    least, entries = min(shape, default=0), size - file.tell()
    if least < 0 or max(shape, default=0) > size or math.prod(shape) * dtype.itemsize != entries or not dtype.itemsize:
        raise ValueError(f"the header states shape {shape} of {dtype}, which does not fit into {entries} bytes")
    file.seek(0)
    return npy.read_array(file, allow_pickle=False)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

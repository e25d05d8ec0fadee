"""The IDX format, in which the MNIST files are distributed (LeCun, Cortes, Burges, 1998)."""

import gzip
import struct
import zlib
from io import BufferedIOBase
from math import prod
from pathlib import Path

import numpy as np

from ...errors import UserError

_UNSIGNED_BYTE = 0x08
_MOST_DIMENSIONS = 3  # images in rows and columns
_MOST_BYTES = 1 << 30


def read_idx(path: Path) -> np.ndarray:
    """Reads an IDX file of unsigned bytes, gzipped if its name ends in `.gz`.

    The format: two zero bytes, the type (0x08: unsigned byte), the number of dimensions d, then d sizes as big-endian
    uint32, then the entries in C order.

    Returns:
        A uint8 array of the shape that the file states.

    Raises:
        UserError: If the file cannot be read, is not IDX, holds another type, has more dimensions or bytes than images,
            or is shorter or longer than it states.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _read(path, file)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: truncated or corrupt gzip file ({error}); fetch it again") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error


def _read(path: Path, file: BufferedIOBase) -> np.ndarray:
    """The entries of an open file, of which no more is unpacked than its header states."""
    content = file.read(4)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise UserError(f"{path}: not an IDX file (it must begin with two zero bytes); fetch it again")
    kind, dimensions = content[2], content[3]
    if kind != _UNSIGNED_BYTE:
        raise UserError(f"{path}: entries of IDX type 0x{kind:02x}, expected 0x08 (unsigned byte); fetch it again")
    if dimensions > _MOST_DIMENSIONS:
        raise UserError(f"{path}: states {dimensions} dimensions, expected at most {_MOST_DIMENSIONS}; fetch it again")
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise UserError(f"{path}: truncated in its header; fetch it again")
    shape = struct.unpack(f">{dimensions}I", sizes)
    if prod(shape) > _MOST_BYTES:
        raise UserError(f"{path}: states shape {shape}, more than {_MOST_BYTES >> 20} MiB; fetch it again")
    entries = file.read(prod(shape) + 1)
    if len(entries) != prod(shape):
        held = f"{len(entries)}" if len(entries) < prod(shape) else f"{len(entries)} or more"
        raise UserError(f"{path}: states shape {shape}, {prod(shape)} bytes, but holds {held}; fetch it again")
    return np.frombuffer(entries, np.uint8).reshape(shape)

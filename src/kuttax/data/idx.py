"""The IDX format, in which the MNIST files are distributed (LeCun, Cortes, Burges, 1998)."""

import gzip
import struct
import zlib
from math import prod
from pathlib import Path

import numpy as np

from ..errors import UserError

_UNSIGNED_BYTE = 0x08


def read_idx(path: Path) -> np.ndarray:
    """Reads an IDX file of unsigned bytes, gzipped if its name ends in `.gz`.

    The format: two zero bytes, the type (0x08: unsigned byte), the number of dimensions d, then d sizes as big-endian
    uint32, then the entries in C order.

    Returns:
        A uint8 array of the shape that the file states.

    Raises:
        UserError: If the file cannot be read, is not IDX, holds another type, or is shorter or longer than it states.
    """
    content = _read_bytes(path)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise UserError(f"{path}: not an IDX file (it must begin with two zero bytes); fetch it again")
    kind, dimensions = content[2], content[3]
    if kind != _UNSIGNED_BYTE:
        raise UserError(f"{path}: entries of IDX type 0x{kind:02x}, expected 0x08 (unsigned byte); fetch it again")
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise UserError(f"{path}: truncated in its header; fetch it again")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) - header != prod(shape):
        raise UserError(
            f"{path}: states shape {shape}, {prod(shape)} bytes, but holds {len(content) - header}; fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _read_bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: truncated or corrupt gzip file ({error}); fetch it again") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error

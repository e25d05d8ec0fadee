"""NumPy archives from outside: never unpickled, and every defect told in one line."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import UserError

# What zipfile and NumPy raise on files that are truncated, altered, encrypted, or not archives at all.
_DEFECTS = (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read_npz(path: Path, keys: Sequence[str]) -> list[np.ndarray]:
    """Reads the arrays `keys` from the archive at `path`, without unpickling anything.

    Raises:
        UserError: As `read_arrays`.
    """
    arrays = read_arrays(path, keys)
    return [arrays[key] for key in keys]


def read_arrays(path: Path, keys: Sequence[str], optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Reads the arrays `keys`, and of the `optional` ones those that are there, without unpickling anything.

    Raises:
        UserError: If the file is not a NumPy archive, is truncated or corrupt, or lacks one of the keys.
    """
    try:
        # Opened here, not by np.load: it leaves the file open when the archive turns out to be broken.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            present = list(getattr(archive, "files", ()))
            missing = [key for key in keys if key not in present]
            wanted = [*keys, *(key for key in optional if key in present)]
            arrays = {} if missing else {key: archive[key] for key in wanted}
    except _DEFECTS as error:
        raise UserError(f"{path}: not a readable NumPy archive ({_one_line(error)}); fetch it again") from error
    if missing:
        found = ", ".join(present) or "none"
        raise UserError(f"{path}: lacks {', '.join(missing)} (keys found: {found}); expected {', '.join(keys)}")
    return arrays


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

"""Manifest: the files that kuttax wrote into a folder, with command, version and digests of finished files."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from .._version import __version__
from ..errors import UserError
from . import json_file

NAME = "manifest.json"
"""The name of the manifest file, in the folder that it describes."""

_FORMAT, _VERSION = "kuttax-manifest", 1
_MEND = "restore the file, or move the folder away"
_ENTRY = {"command": str, "kuttax": str, "bytes": (int, None), "sha256": (str, None), "finished": bool}
_SHAPE = {
    "format": str,
    "version": int,
    "command": str,
    "files": {str: _ENTRY},
    "complete": ([str], None),
    "sha256": str,
}


@dataclass(frozen=True)
class Entry:
    """One file, or a pattern of names, or a folder with its own manifest (its name ends in `/`).

    Attributes:
        command: The command that wrote it.
        kuttax: The version of kuttax.
        bytes, sha256: Size and digest of the file when it was last finished; None if it never was.
        finished: Whether the file is finished, and not being written.
    """

    command: str
    kuttax: str = __version__
    bytes: int | None = None
    sha256: str | None = None
    finished: bool = False

    def sealed(self, path: Path) -> "Entry":
        """The entry with the current digest of the file."""
        return Entry(self.command, self.kuttax, path.stat().st_size, digest(path), finished=True)

    def fits(self, path: Path, *, grown: bool = False) -> bool:
        """Whether a file has the digest; if it may have grown, whether its first bytes have it."""
        size = path.stat().st_size
        return self.bytes is not None and (
            (size == self.bytes or (grown and size > self.bytes)) and digest(path, self.bytes) == self.sha256
        )


@dataclass(frozen=True)
class Manifest:
    """The contents of a folder.

    Attributes:
        command: The command that the folder belongs to.
        files: Name, relative to the folder -> entry.
        complete: All files of a finished result that is about to replace an earlier one.
    """

    command: str
    files: dict[str, Entry]
    complete: Sequence[str] | None = None

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The manifest of a folder; None if there is none.

        Raises:
            UserError: It is damaged, or from a later version.
        """
        path = folder / NAME
        try:
            data = json_file.read(path, _SHAPE, _MEND)
        except (FileNotFoundError, NotADirectoryError):
            return None
        data = json_file.opened(data, path, _MEND)
        if data["format"] != _FORMAT or data["version"] != _VERSION:
            raise UserError(f"{path} is no manifest of version {_VERSION}: {_MEND}, or update kuttax")
        if any(".." in name.split("/") or name.startswith("/") for name in [*data["files"], *(data["complete"] or ())]):
            raise UserError(f"{path} lists a file outside of its folder: {_MEND}")
        return cls(data["command"], {name: Entry(**e) for name, e in data["files"].items()}, data["complete"])

    def write(self, folder: Path) -> None:
        """Write it, atomically."""
        files = {name: asdict(entry) for name, entry in self.files.items()}
        about = {"format": _FORMAT, "version": _VERSION, "command": self.command}
        json_file.write_sealed(folder / NAME, {**about, "files": files, "complete": self.complete})


def digest(path: Path, most: int | None = None) -> str:
    """The SHA-256 of a file, or of its first bytes."""
    found, left = hashlib.sha256(), path.stat().st_size if most is None else most
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(left, 1 << 20))):
            found.update(block)
            left -= len(block)
    return found.hexdigest()

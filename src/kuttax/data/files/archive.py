"""Gzipped tar archives from outside: only files, and no more bytes than a limit."""

import contextlib
import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ...errors import UserError


class _Limited:
    """A file that raises when more bytes than a limit are read from it."""

    def __init__(self, file: gzip.GzipFile, most: int):
        self.file, self.left, self.most = file, most, most

    def read(self, size: int) -> bytes:
        found = self.file.read(min(size, self.left + 1))
        self.left -= len(found)
        if self.left < 0:
            raise tarfile.TarError(f"it unpacks to more than {self.most >> 20} MiB")
        return found


class _Member:
    """A file inside of an archive. What is wrong with the archive may show only while the file is read."""

    def __init__(self, file: IO[bytes], path: Path):
        self.file, self.path = file, path

    def read(self, size: int = -1) -> bytes:
        with _explained(self.path):
            return self.file.read(size)


def files(path: Path, most: int) -> Iterator[tuple[str, _Member]]:
    """The files of an archive, one after another: name, and an open file, valid until the next one.

    Folders are skipped.

    Args:
        path: The archive.
        most: The largest number of bytes that it may unpack to.

    Raises:
        UserError: The archive is damaged, is larger than that, or contains anything but files and folders; also from
            `read` of a file.
    """
    with (
        _explained(path),
        gzip.open(path) as unpacked,
        tarfile.open(fileobj=_Limited(unpacked, most), mode="r|") as archive,  # pyright: ignore
    ):
        for member in archive:
            if member.isdir():
                continue
            file = None if not member.isreg() or member.issparse() else archive.extractfile(member)
            if file is None:
                raise tarfile.TarError(f"{member.name} is a link or no plain file")
            yield member.name, _Member(file, path)
        while unpacked.read(1 << 20):  # to its end, where gzip's checksum is
            pass


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Defects of the archive as one line."""
    try:
        yield
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        if isinstance(error, FileNotFoundError):
            raise
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not a readable archive ({reason}); delete it and try again") from error

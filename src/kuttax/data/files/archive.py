"""Gzipped tar archives from outside: files alone, and no more bytes than a limit, whatever an archive unpacks to."""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ...errors import UserError


class _Limited:
    """A file that ends with an error when more was read of it than a limit."""

    def __init__(self, file: gzip.GzipFile, most: int):
        self.file, self.left, self.most = file, most, most

    def read(self, size: int) -> bytes:
        found = self.file.read(min(size, self.left + 1))
        self.left -= len(found)
        if self.left < 0:
            raise tarfile.TarError(f"it unpacks to more than {self.most >> 20} MiB")
        return found


def files(path: Path, most: int) -> Iterator[tuple[str, IO[bytes]]]:
    """The files of an archive, one after another: name, and what to read it from before the next is asked for.

    Folders are passed over.

    Args:
        path: Of the archive.
        most: How many bytes it may unpack to.

    Raises:
        UserError: The archive is damaged, is larger than that, or holds something else than files and folders.
    """
    try:
        with (
            gzip.open(path) as unpacked,
            tarfile.open(fileobj=_Limited(unpacked, most), mode="r|") as archive,  # pyright: ignore
        ):
            for member in archive:
                if member.isdir():
                    continue
                file = None if not member.isreg() or member.issparse() else archive.extractfile(member)
                if file is None:
                    raise tarfile.TarError(f"{member.name} is a link or no plain file")
                yield member.name, file
            while unpacked.read(1 << 20):  # to its end, where gzip's checksum is
                pass
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        if isinstance(error, FileNotFoundError):
            raise
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not a readable archive ({reason}); delete it and try again") from error

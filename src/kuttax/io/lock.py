"""Lock: one process at a time writes into a folder.

The operating system provides the lock, which ends with the process that holds it, in any case. The file's text (which
process, since when) is only for messages.
"""

import errno
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path

from ..errors import UserError
from . import json_file
from .shape import mismatch

NAME = ".lock"
"""The name of the lock file, in the folder that it locks."""

_HOLDER = {"pid": int, "host": str, "since": str}
_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    def _take(handle: int) -> None:
        os.lseek(handle, 1 << 20, os.SEEK_SET)  # behind the text: others cannot read a locked byte
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
        os.lseek(handle, 0, os.SEEK_SET)
else:

    def _take(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


class InUse(UserError):
    """Another process writes to the folder."""


class Lock:
    """The lock of one folder; a context that releases it at its end.

    Args:
        folder: The folder to lock. Only an existing folder is locked.
    """

    def __init__(self, folder: Path):
        self.path = folder / NAME
        self._handle: int | None = None

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock, unless this object already holds it. On a disk without lock support, nothing is locked.

        Raises:
            InUse: Another process, or another part of this one, holds it.
            OSError: The file cannot be created.
        """
        while self._handle is None:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _take(handle)
            except OSError as error:
                os.close(handle)
                if error.errno in _HELD:
                    raise InUse(self._in_use()) from None
                return
            if self._is_at_path(handle):
                self._handle = handle
                about = {"pid": os.getpid(), "host": socket.gethostname(), "since": _now()}
                os.truncate(handle, 0)
                os.write(handle, json.dumps(about).encode())
            else:  # the previous holder removed the file between our two calls
                os.close(handle)

    def release(self) -> None:
        """Remove the file and release the lock, if this object holds it."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        if os.name == "posix":
            self.path.unlink(missing_ok=True)
        os.close(handle)

    def _is_at_path(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), self.path.stat())
        except FileNotFoundError:
            return False

    def _in_use(self) -> str:
        try:
            holder = json_file.parse(self.path.read_bytes())
        except (OSError, ValueError):
            holder = None
        who = "another process"
        if isinstance(holder, dict) and mismatch(holder, _HOLDER) is None:
            who = f"process {holder['pid']} on {holder['host']} since {holder['since']}"
        return f"{self.path.parent} is in use by {who}: wait until it ends, or name another folder"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

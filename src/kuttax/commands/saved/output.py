"""The output folder of a command: the meaning of `--out`, `--overwrite` and `--resume`."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ...errors import UserError
from ...io import checkpoints, lock, manifest
from ...io.folder import Folder, replace_result
from ...io.lock import Lock
from ...io.manifest import Manifest

NEW = "overwriting"
"""The part of a folder with a new result, until the result is complete and replaces the earlier one."""

CHECKPOINTS = "checkpoints"
"""The part of a folder with the checkpoints of a run."""

_SHOWN = 3  # number of names shown of files that kuttax did not write


class Output:
    """The folder of one command; use it as a context, which releases the folder at its end.

    `refuse_used`, before costly work, and `begin`, after all checks of the options, lock the folder. A new result that
    overwrites an earlier one is written to a part of the folder; `finish` then replaces the earlier one. Until then the
    earlier one is complete.

    Args:
        out: The folder.
        command: The command that writes.
        overwrite: Whether to replace an earlier result.
        resume: Whether to continue one.
    """

    def __init__(self, out: Path, command: str, *, overwrite: bool, resume: bool = False):
        self.out, self.overwrite, self.resume = out, overwrite, resume
        self._whole = Folder(out, command)
        self._lock = Lock(out)

    def __enter__(self) -> "Output":
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    @property
    def folder(self) -> Folder:
        """The folder to write to: the folder itself, or its part for a result that will replace another one."""
        part = Folder(self.out / NEW, self._whole.command)
        return part if part.path.is_dir() and part.path.name + "/" in self._listed() else self._whole

    def refuse_used(self) -> None:
        """Check whether `begin` will succeed. Only the lock is written.

        Raises:
            UserError: The folder is a file, is in use by another process, or contains files that may not be replaced;
                or `overwrite` and `resume` contradict each other.
        """
        self.refuse_contradiction()
        if self.out.exists() and not self.out.is_dir():
            raise UserError(f"--out {self.out} is a file: name a directory")
        if not self.out.exists():
            return
        self._lock.acquire()
        _settle(self._whole)
        if self.overwrite:
            self._refuse_strangers()
        elif self.resume:
            self._refuse_other_run()
        elif any(path.name != lock.NAME for path in self.out.iterdir()):
            raise UserError(f"--out {self.out} is not empty: give --overwrite to replace its results, or another --out")

    def refuse_contradiction(self) -> None:
        """Refuse both `overwrite` and `resume`.

        Raises:
            UserError: Both are given.
        """
        if self.overwrite and self.resume:
            raise UserError("--overwrite and --resume contradict each other: give one of them")

    def begin(self) -> Folder:
        """Create and lock the folder; returns the folder to write to. An earlier result is not changed.

        Raises:
            UserError: As `refuse_used`, or the folder cannot be created.
        """
        self.refuse_used()
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--out {self.out} cannot be made ({error.strerror}): name another directory") from None
        self.refuse_used()  # again, with the lock: another process may have created it in the meantime
        if self.overwrite and self._listed():
            stale = Folder(self.out / NEW, self._whole.command)
            stale.remove(stale.owned())
            self._whole.part(NEW).path.mkdir(exist_ok=True)
        return self.folder

    def finish(self) -> None:
        """Replace the earlier result, if there is one, by the new one, which is complete."""
        if self.folder != self._whole:
            replace_result(self._whole, self.folder)

    def _listed(self) -> list[str]:
        known = Manifest.read(self.out)
        return [] if known is None else list(known.files)

    def _refuse_strangers(self) -> None:
        theirs = self._whole.strangers()
        if theirs:
            shown = ", ".join(theirs[:_SHOWN])
            more = f" and {len(theirs) - _SHOWN} more" if len(theirs) > _SHOWN else ""
            raise UserError(
                f"--out {self.out} holds {shown}{more}, which {manifest.NAME} does not list as written by kuttax: "
                "move them away, or give another --out"
            )

    def _refuse_other_run(self) -> None:
        known, command = Manifest.read(self.folder.path), self._whole.command
        if known is None:
            if self.folder.strangers():
                raise UserError(
                    f"--out {self.out} holds no run that can be resumed: give the directory of kuttax {command}"
                )
        elif known.command != command:
            raise UserError(
                f"--out {self.out} is the directory of kuttax {known.command}: give that of kuttax {command} to resume"
            )


def listed() -> list[str]:
    """Patterns of the names of a run's checkpoints, for the manifest: for one training, or for several phases."""
    return [f"{CHECKPOINTS}/{within}{name}" for within in ("", "*/") for name in checkpoints.FILES]


@contextlib.contextmanager
def writing_into(directory: Path, command: str) -> Iterator[Folder]:
    """A saved run or comparison to which a command adds files; other processes are kept out.

    Raises:
        UserError: Another process writes to it.
    """
    with Lock(directory) as own:
        if directory.is_dir():
            own.acquire()
            _settle(Folder(directory, command))
        yield Folder(directory, command)


def _settle(folder: Folder) -> None:
    """Complete the work that a kill interrupted: a complete new result that had not yet replaced the earlier one."""
    new = Folder(folder.path / NEW, folder.command)
    found = Manifest.read(new.path)
    if found is not None and found.complete is not None:
        replace_result(folder, new)

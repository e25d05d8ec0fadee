"""Folder: the output of a command, listed in the folder's manifest before it is written.

A file that the manifest does not list belongs to somebody else: kuttax never replaces or removes it.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from ..errors import UserError
from . import lock, manifest
from .atomic import PARTIAL
from .manifest import Entry, Manifest


@dataclass(frozen=True)
class Folder:
    """A folder that a command writes to. All information about it is in its manifest, on disk.

    Args:
        path: The folder; the first write creates it.
        command: The command that writes; the manifest records it for each file.
    """

    path: Path
    command: str

    @contextlib.contextmanager
    def writing(self, *names: str) -> Iterator[None]:
        """A context for writing files: it lists them before, and records their digests after.

        If the writing fails, changed files stay listed as unfinished.

        Raises:
            UserError: As `claim`.
        """
        self.claim(*names)
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):  # the disk may be full
                self._release(names)
            raise
        self.seal(*names)

    def _release(self, names: Iterable[str]) -> None:
        """Mark files as finished if they did not change since they were listed."""
        known = Manifest.read(self.path)
        entries = {} if known is None else {name: known.files[name] for name in names}
        self.seal(*[n for n, entry in entries.items() if (self.path / n).is_file() and entry.fits(self.path / n)])

    def claim(self, *names: str) -> None:
        """List files that will be written, as unfinished.

        Args:
            names: Relative to the folder, with `/`. Patterns as in `fnmatch` are for files that come and go. A name
                that ends in `/` is that of a folder with a manifest of its own.

        Raises:
            UserError: A file of that name is there, and the manifest does not list it.
        """
        known = Manifest.read(self.path) or Manifest(self.command, {})
        theirs = next((name for name in names if name not in known.files and self._exists(name)), None)
        if theirs is not None:
            raise UserError(
                f"{self.path / theirs} is there, and kuttax did not write it, or an earlier version did: move it away"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        fresh = Entry(self.command)
        entries = {name: replace(known.files.get(name, fresh), finished=False) for name in names}
        replace(known, files={**known.files, **entries}).write(self.path)

    def seal(self, *names: str) -> None:
        """Note the digests of files that are listed and finished. A name without a file is taken off the list."""
        known = Manifest.read(self.path) or Manifest(self.command, {})
        files = dict(known.files)
        for name in names:
            if (self.path / name).is_file():
                files[name] = files.get(name, Entry(self.command)).sealed(self.path / name)
            else:
                files.pop(name, None)
        replace(known, files=files).write(self.path)

    def part(self, name: str) -> "Folder":
        """A folder within this one, with its own manifest; the manifest of this one lists it."""
        if not self.lists(f"{name}/"):
            self.claim(f"{name}/")
        return Folder(self.path / name, self.command)

    def lists(self, name: str) -> bool:
        """Whether the manifest lists a file."""
        known = Manifest.read(self.path)
        return known is not None and name in known.files

    def check(self, name: str, mend: str, *, grown: bool = False) -> bool:
        """Compare a file with its digest in the manifest.

        Args:
            name: Relative to the folder.
            mend: The advice in the message.
            grown: Whether lines may have been added since.

        Returns:
            Whether the manifest has the digest: False if there is no manifest, the file is not listed or missing, or
            lines are still added.

        Raises:
            UserError: The file has changed, or was not finished.
        """
        known, path = Manifest.read(self.path), self.path / name
        entry = None if known is None else known.files.get(name)
        if entry is None or not path.exists() or (grown and not entry.finished):
            return False
        if entry.fits(path, grown=grown):
            return True
        if not entry.finished:
            raise UserError(f"{path} is not finished, its command was interrupted: give --resume, or {mend}")
        raise UserError(
            f"{path} is damaged or another file: its SHA-256 is not the one in {manifest.NAME}; restore it, or {mend}"
        )

    def owned(self) -> list[str]:
        """The names of existing files that the manifest lists, parts included."""
        return self._sorted()[0]

    def strangers(self) -> list[str]:
        """The names of existing files that the manifest does not list."""
        return self._sorted()[1]

    def remove(self, names: Iterable[str]) -> None:
        """Remove files of this folder, and folders that become empty."""
        for name in names:
            (self.path / name).unlink(missing_ok=True)
            self._prune(name)

    def _exists(self, name: str) -> bool:
        if name.endswith("/"):
            path = self.path / name
            return path.is_file() or (path.is_dir() and any(path.iterdir()))
        if set(name) & set("*?["):
            return self.path.is_dir() and any(True for _ in self.path.glob(name))
        return os.path.lexists(self.path / name)

    def _prune(self, name: str) -> None:
        """Remove the parent folders of a removed file, as long as they are empty and within this one."""
        for parent in (self.path / name).parents:
            if parent == self.path:
                return
            try:
                parent.rmdir()
            except OSError:  # not empty, or already gone
                return

    def _sorted(self) -> tuple[list[str], list[str]]:
        """The files that the manifest lists, and those that it does not."""
        known = Manifest.read(self.path)
        listed = {} if known is None else known.files
        ours, theirs = [], []
        for name in _files(self.path):
            part = next((p for p in listed if p.endswith("/") and name.startswith(p)), None)
            if part is None:
                (ours if _is_listed(name, listed, known) else theirs).append(name)
        for part in (p for p in listed if p.endswith("/")):
            for group, found in zip((ours, theirs), Folder(self.path / part, self.command)._sorted(), strict=True):
                group.extend(part + name for name in found)
        return ours, theirs


def _files(folder: Path) -> Iterator[str]:
    """All files in a folder; links to folders are not followed."""
    for path, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(path) / name).is_symlink()]
        for name in sorted(files + links):
            found = (Path(path) / name).relative_to(folder).as_posix()
            if found != lock.NAME:
                yield found


def _is_listed(name: str, listed: Iterable[str], known: Manifest | None) -> bool:
    name = name.removesuffix(PARTIAL)
    if name == manifest.NAME:  # a first manifest that was cut short is of no use
        return True
    return known is not None and any(name == one or fnmatchcase(name, one) for one in listed)


def replace_result(old: Folder, new: Folder) -> None:
    """Replace an earlier result by a finished one in a part of the folder.

    The call can be repeated at any point: after a kill, the next call completes it.

    Args:
        old: The folder. Files that its manifest lists are removed; others stay.
        new: The part. It no longer exists afterwards.
    """
    found = Manifest.read(new.path)
    assert found is not None
    if found.complete is None:
        _refuse_strangers(old, new)
        found = replace(found, complete=[name for name in new.owned() if name != manifest.NAME])
        found.write(new.path)
    assert found.complete is not None
    within = f"{new.path.relative_to(old.path).as_posix()}/"
    kept = {*found.complete, manifest.NAME}
    old.remove(name for name in old.owned() if name not in kept and not name.startswith(within))
    for name in found.complete:
        if (new.path / name).exists():
            (old.path / name).parent.mkdir(parents=True, exist_ok=True)
            (new.path / name).replace(old.path / name)
            new._prune(name)
    replace(found, complete=None).write(old.path)
    old.remove([f"{within}{manifest.NAME}"])


def _refuse_strangers(old: Folder, new: Folder) -> None:
    """Refuse to replace a file that the manifest does not list.

    Raises:
        UserError: Such a file has the name of a file of the new result.
    """
    theirs = {*old.strangers()} & {*new.owned()}
    if theirs:
        raise UserError(
            f"{old.path / min(theirs)} was put there in the meantime: move it away, then give --resume; until then the "
            f"new result is in {new.path}"
        )

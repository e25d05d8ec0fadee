"""Checkpoints: the state of a run on disk, so that it can continue after a kill at any moment.

A file is one line of JSON, with format, version, length and SHA-256 of the rest, followed by a NumPy archive. Each file
is written atomically and contains no pickles.
"""

import contextlib
import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..errors import UserError
from . import json_file
from .atomic import PARTIAL, replacing

FILES = tuple(f"{'[0-9]' * 8}.{ending}" for ending in ("ckpt", "damaged"))
"""Patterns of the file names in a folder of checkpoints."""

_FORMAT, _VERSION = "kuttax-checkpoint", 1
_PARTS = "parts.json"  # the archive's member with everything except arrays


class SavedPart(NamedTuple):
    """The state of one part of a run: JSON, which may contain NaN and infinities, and arrays."""

    plain: dict[str, Any]
    arrays: Sequence[Any] = ()


class Checkpoint(NamedTuple):
    """A checkpoint: its file, and the state of each part by its name."""

    path: Path
    parts: dict[str, SavedPart]

    @property
    def step(self) -> int:
        """Optimiser steps taken."""
        return self.parts["run"].plain["step"]


class AllDamaged(UserError):
    """No checkpoint in a folder is intact; `damage` says what is wrong with the newest."""

    def __init__(self, damage: str, more: str):
        super().__init__(f"{damage}{more}: remove the folder, and --resume begins this run again")
        self.damage = damage


class Checkpoints:
    """The last few checkpoints of one run, in their own folder.

    Args:
        directory: The folder; the first checkpoint creates it.
        keep: The number of checkpoints to keep.
        every: The smallest time in seconds between two regular checkpoints.
    """

    def __init__(self, directory: Path, keep: int = 3, every: float = 30.0):
        if keep < 1:
            raise UserError(f"keep must be >= 1 checkpoints, got {keep}")
        if not every >= 0:
            raise UserError(f"seconds between checkpoints must be >= 0, got {every}")
        self.directory, self.keep, self.every = directory, keep, every
        self._last = -np.inf

    @property
    def due(self) -> bool:
        """Whether a regular checkpoint is due."""
        return time.monotonic() - self._last >= self.every

    def save(self, parts: Mapping[str, SavedPart]) -> None:
        """Write the next checkpoint, wait until it is on the disk, and remove the oldest."""
        self.directory.mkdir(parents=True, exist_ok=True)
        payload = _packed(parts)
        there = self._paths()
        number = int(there[-1].stem) + 1 if there else 1
        with replacing(self.directory / f"{number:08}.ckpt") as partial, partial.open("wb") as file:
            file.write(_header(payload) + payload)
            file.flush()
            os.fsync(file.fileno())
        _sync(self.directory)
        for path in self._paths()[: -self.keep]:
            path.unlink(missing_ok=True)  # another process may have done so
        self._last = time.monotonic()

    def latest(self, say: Callable[[str], None] = print) -> Checkpoint | None:
        """The newest intact checkpoint; None if there is none at all.

        A damaged one is renamed, and `say` reports which one is used instead.

        Raises:
            AllDamaged: They are all damaged.
        """
        damaged = []
        for path in reversed(self._paths()):
            try:
                found = Checkpoint(path, _unpacked(path.read_bytes()))
            except FileNotFoundError:  # another process has just replaced it
                continue
            except _Damaged as error:
                damaged.append(f"{path} is damaged ({error})")
                continue
            for text in damaged:
                say(f"{text}: going on from {path.name}")
            for other in self._paths():
                if other.stem > path.stem:
                    other.replace(other.with_suffix(".damaged"))
            self._last = time.monotonic()
            return found
        if damaged:
            more = f", and so are all {len(damaged)} in its folder" if len(damaged) > 1 else ", and it is the only one"
            raise AllDamaged(damaged[0], more)
        return None

    def clear(self) -> None:
        """Remove all checkpoints, and their folder if it is then empty."""
        clear(self.directory)

    def _paths(self) -> list[Path]:
        """From the oldest to the newest."""
        return sorted(path for path in self.directory.glob("*.ckpt") if path.stem.isdecimal())


def clear(directory: Path) -> None:
    """Remove the checkpoints in a folder and its subfolders; a folder is removed if it is then empty."""
    for inner in directory.glob("*/"):
        if not inner.is_symlink():
            clear(inner)
    for path in (path for pattern in FILES for end in ("", PARTIAL) for path in directory.glob(pattern + end)):
        path.unlink()
    with contextlib.suppress(OSError):  # not empty, or missing
        directory.rmdir()


def restored(arrays: Sequence[np.ndarray], like: PyTree) -> PyTree:
    """The arrays as a tree like `like`, each on the device, or in NumPy, as there.

    Raises:
        UserError: They belong to another tree.
    """
    leaves, structure = jax.tree.flatten(like)
    if len(leaves) != len(arrays) or not all(map(_fits, arrays, leaves)):
        raise UserError(
            "the checkpoint is of another model, solver or precision: resume with the task, solver and JAX settings of "
            "its run, or start again"
        )
    # A type unknown to NumPy, such as bfloat16, is read as raw bytes.
    typed = [a.view(b.dtype) if a.dtype.kind == "V" else a for a, b in zip(arrays, leaves, strict=True)]
    placed = [jnp.asarray(a) if isinstance(b, jax.Array) else a for a, b in zip(typed, leaves, strict=True)]
    return jax.tree.unflatten(structure, placed)


def _fits(array: np.ndarray, leaf: Any) -> bool:
    raw = array.dtype.kind == "V" and array.dtype.itemsize == leaf.dtype.itemsize
    return array.shape == np.shape(leaf) and (raw or array.dtype == leaf.dtype)


class _Damaged(Exception):
    """A file was changed after it was written."""


def _packed(parts: Mapping[str, SavedPart]) -> bytes:
    plain = {name: {"plain": part.plain, "arrays": len(part.arrays)} for name, part in parts.items()}
    members = {f"{name}.{i}": np.asarray(x) for name, part in parts.items() for i, x in enumerate(part.arrays)}
    members[_PARTS] = np.frombuffer(json.dumps(plain).encode(), np.uint8)
    file = io.BytesIO()
    np.savez(file, **members)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def _header(payload: bytes) -> bytes:
    about = {"format": _FORMAT, "version": _VERSION, "bytes": len(payload), "sha256": _digest(payload)}
    return json.dumps(about).encode() + b"\n"


def _digest(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()


def _unpacked(content: bytes) -> dict[str, SavedPart]:
    first, newline, payload = content.partition(b"\n")
    if first + newline != _header(payload):
        raise _Damaged(_reason(first, payload))
    with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
        parts = json.loads(archive[_PARTS].tobytes())
        arrays = lambda name, count: [archive[f"{name}.{i}"] for i in range(count)]
        return {name: SavedPart(part["plain"], arrays(name, part["arrays"])) for name, part in parts.items()}


def _reason(first: bytes, payload: bytes) -> str:
    """What is wrong with a file whose first line does not match the rest."""
    try:
        about = json_file.parse(first)
    except ValueError:
        about = None
    if not isinstance(about, dict) or about.get("format") != _FORMAT:
        return "it does not begin as a checkpoint does"
    if about.get("version") != _VERSION:
        return f"it is of version {about.get('version')}, this kuttax writes version {_VERSION}"
    if about.get("bytes") != len(payload):
        return f"it holds {len(payload)} of {about.get('bytes')} bytes"
    return "its checksum is another"


def _sync(directory: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    if os.name != "posix":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Keep: what a stopped distillation goes on from, in a folder."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..io.checkpoints import Checkpoints, SavedPart


class Keep:
    """A folder with the solutions of the teacher and the state of unfinished fits, each under a digest of its inputs.

    Args:
        directory: The folder; None keeps nothing.
        every: The smallest time in seconds between two saves.
    """

    def __init__(self, directory: Path | None, every: float = 30.0):
        self._directory, self._every = directory, every

    def stored(self, name: str, about: Any) -> "Stored":
        """The place of what this name means for these inputs, a pytree of arrays and of values with a `repr`."""
        if self._directory is None:
            return Stored(None)
        return Stored(Checkpoints(self._directory / f"{name}-{_digest(about)}", keep=1, every=self._every))


class Stored:
    """Arrays and plain values on disk; with None, nothing is stored."""

    def __init__(self, checkpoints: Checkpoints | None):
        self._checkpoints = checkpoints
        self.plain: dict[str, Any] = {}

    def found(self) -> list[Any] | None:
        """The arrays of an earlier call, after which `plain` has its values; None if there are none."""
        saved = None if self._checkpoints is None else self._checkpoints.latest(lambda text: None)
        if saved is None:
            return None
        self.plain = saved.parts["state"].plain
        return list(saved.parts["state"].arrays)

    def save(self, arrays: Sequence[Any], plain: dict[str, Any] | None = None, *, now: bool = False) -> None:
        """Write them, if a regular save is due, or now."""
        if self._checkpoints is not None and (now or self._checkpoints.due):
            self._checkpoints.save({"state": SavedPart(plain or {}, arrays)})

    def clear(self) -> None:
        """Remove what is stored."""
        if self._checkpoints is not None:
            self._checkpoints.clear()


def _digest(about: Any) -> str:
    """Of all values, the shapes and the structure."""
    leaves, structure = jax.tree.flatten(about)
    sha = hashlib.sha256(_text(structure))
    for leaf in leaves:
        array = isinstance(leaf, np.ndarray | jax.Array)
        sha.update(_text((leaf.dtype, leaf.shape) if array else leaf))
        sha.update(np.ascontiguousarray(leaf).tobytes() if array else b"")
    return sha.hexdigest()[:16]


def _text(value: Any) -> bytes:
    """A value's `repr`, without the addresses of functions, which differ between processes."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value)).encode()

"""Keep: what a stopped distillation goes on from, in a folder."""

import hashlib
import re
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .._version import __version__
from ..errors import UserError
from ..io.checkpoints import AllDamaged, Checkpoints, SavedPart

_EVERY = 30.0  # seconds between two saves, at least
_SHARE = 0.05  # of the time that saves may take


class Keep:
    """A folder with the solutions of the teacher and the states of fits, each under a digest of its inputs.

    Args:
        directory: The folder, which is created; None keeps nothing.

    Raises:
        UserError: The folder cannot be created.
    """

    def __init__(self, directory: str | Path | None):
        if directory is not None and not isinstance(directory, str | Path):
            raise UserError(f"saved must be the path of a folder, got {directory!r}")
        self._directory = None if directory is None else Path(directory)
        if self._directory is not None:
            try:
                self._directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"saved={str(directory)!r} is no folder ({error.strerror}): name another one") from None

    def stored(self, name: str, about: Any) -> "Stored":
        """The place of what this name means for these inputs, a pytree of arrays and of values with a `repr`."""
        if self._directory is None:
            return Stored(None)
        place = self._directory / f"{name}-{_digest((__version__, about))}"  # another version may store other things
        return Stored(Checkpoints(place, keep=1, every=_EVERY))


class Stored:
    """Arrays and plain values on disk; with None, nothing is stored."""

    def __init__(self, checkpoints: Checkpoints | None):
        self._checkpoints = checkpoints
        self.plain: dict[str, Any] = {}

    def __bool__(self) -> bool:
        """Whether anything is stored."""
        return self._checkpoints is not None

    def found(self) -> list[Any] | None:
        """The arrays of an earlier call, after which `plain` has its values; None if there are no intact ones."""
        try:
            saved = None if self._checkpoints is None else self._checkpoints.latest(lambda text: None)
        except AllDamaged as error:
            warnings.warn(f"{error.damage}: it is computed again", stacklevel=2)
            return None
        if saved is None:
            return None
        self.plain = saved.parts["state"].plain
        return list(saved.parts["state"].arrays)

    def save(self, arrays: Sequence[Any], plain: dict[str, Any] | None = None, *, now: bool = False) -> None:
        """Write them, if a regular save is due, or now. Large ones are saved less often."""
        if self._checkpoints is not None and (now or self._checkpoints.due):
            begin = time.monotonic()
            self._checkpoints.save({"state": SavedPart(plain or {}, arrays)})
            self._checkpoints.every = max(_EVERY, (time.monotonic() - begin) / _SHARE)


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
    """A value's `repr`, without the addresses of objects, which differ between processes."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value)).encode()

"""Compiled programs: what XLA has compiled for one command serves the next ones."""

import hashlib
import os
import platform
import sys
import warnings
from pathlib import Path

_CHOSEN = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")
"""JAX's own variables, with which a user decides about it."""
_MOST = 2**30  # bytes of all programs


def keep_compiled() -> None:
    """Let JAX keep compiled programs in the user's cache, a folder for each kind of processor.

    It does nothing in a process that has loaded JAX, if the user has decided about it with JAX's own variables, or if
    the cache cannot be written.
    """
    if "jax" in sys.modules or any(name in os.environ for name in _CHOSEN):
        return
    import platformdirs  # not at the top: only programs need it

    folder = Path(platformdirs.user_cache_dir("kuttax")) / "compiled" / _processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _tidy(folder)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")
        # A program that a killed process wrote by half, or for which there is no room, is compiled again.
        warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")


def _processor() -> str:
    """A name for the kind of processor: a program for one may use instructions that another lacks."""
    about = [platform.machine(), platform.processor()]
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        about += sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    except OSError:
        pass  # no Linux
    return hashlib.sha256("\n".join(about).encode()).hexdigest()[:16]


def _tidy(folder: Path) -> None:
    """Delete the oldest programs where all are larger than the limit."""
    found = sorted(((file.stat(), file) for file in folder.iterdir()), key=lambda one: one[0].st_mtime)
    left = sum(about.st_size for about, _ in found)
    for about, file in found:
        if left <= _MOST:
            return
        file.unlink(missing_ok=True)
        left -= about.st_size

"""Memory of this process, where Linux tells it."""

import contextlib
import ctypes
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_Result = TypeVar("_Result")


def with_peak(function: Callable[[], _Result]) -> tuple[_Result, float | None]:
    """What `function` returns, and the most memory in use while it ran, in MiB beyond what was in use before.

    None where nothing tells, on other systems than Linux.
    What was freed before is handed back first: a compiler's leavings are no part of it.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
    try:
        _CLEAR.write_text("5")  # begins anew to look for the peak (Linux, proc_pid_clear_refs)
    except OSError:
        return function(), None
    before = _mib("VmRSS")
    return function(), _mib("VmHWM") - before


def _mib(field: str) -> float:
    found = re.search(rf"^{field}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024

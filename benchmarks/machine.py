"""Where something was measured: versions, processor, cores. No names of hosts or paths.

`python -m benchmarks.machine PACKAGE...` prints the versions that another interpreter has.
"""

import importlib.metadata
import json
import os
import platform
import re
import sys
from collections.abc import Iterable
from pathlib import Path


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Of Python and of each package that is installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """The processor's model."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def busy_seconds() -> float | None:
    """Processor time that the whole machine has spent on anything, and its host on others; None where nothing tells."""
    try:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    except OSError:
        return None
    idle, waiting = 3, 4
    spent = [int(x) for i, x in enumerate(fields[:8]) if i not in (idle, waiting)]  # the last two are in the first two
    return sum(spent) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    print(json.dumps(versions(sys.argv[1:])))

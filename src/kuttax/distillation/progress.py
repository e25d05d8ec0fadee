"""Progress: where a distillation is."""

import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import jax


class Progress(NamedTuple):
    """The report of a distillation; as text it is one line.

    Attributes:
        phase: "teacher" or "fit".
        done, total: Starts that the teacher has solved, of all; or steps of the optimiser, of the most it may take. A
            second fit counts from 0 again.
        error: The root mean square error on the held-out starts; NaN while the teacher solves.
        seconds: Since the phase began.
        memory: The most memory that the process has used, or that of its accelerator, in bytes; NaN where unknown.
    """

    phase: str
    done: int
    total: int
    error: float
    seconds: float
    memory: float

    def __str__(self) -> str:
        error = "" if self.error != self.error else f", error {self.error:.3g} on the held-out starts"
        memory = "" if self.memory != self.memory else f", {self.memory / 2**30:.1f} GiB"
        unit = "starts" if self.phase == "teacher" else "steps"
        return f"{self.phase}: {self.done} of {self.total} {unit}{error}, {self.seconds:.0f} s{memory}"


class Reporter:
    """Adds time and memory to the reports of one phase.

    Args:
        report: Receives them.
        phase: "teacher" or "fit".
    """

    def __init__(self, report: Callable[[Progress], None], phase: str):
        self._report, self._phase, self._begin = report, phase, time.perf_counter()

    def __call__(self, done: int, total: int, error: float = float("nan")) -> None:
        """Report."""
        now = Progress(self._phase, done, total, error, time.perf_counter() - self._begin, _memory())
        self._report(now)


def _memory() -> float:
    stats = jax.local_devices()[0].memory_stats()
    if stats is not None and "peak_bytes_in_use" in stats:
        return float(stats["peak_bytes_in_use"])
    try:
        import resource  # not on Windows
    except ImportError:
        return float("nan")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(most if sys.platform == "darwin" else 1024 * most)

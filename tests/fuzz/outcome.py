"""Outcome: what one random case came to; and a run of many."""

import faulthandler
import functools
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import jax

LONGEST = 60.0
"""Seconds of the processor that one case may take."""

_TOGETHER = 80  # cases that share compiled programs


class Hang(BaseException):
    """A case took too long. No `Exception`, so that the command line does not handle it."""


@dataclass(frozen=True)
class Outcome:
    """What a case came to.

    Attributes:
        kind: "ok", "refused" or any other word for what is right; it is counted.
        fault: What is wrong; None where nothing is.
        about: The input, for the record of a fault.
    """

    kind: str
    fault: str | None = None
    about: dict[str, Any] = field(default_factory=dict)


@dataclass
class Run:
    """The outcomes of one part of the fuzz command.

    Attributes:
        part: The part's name.
        seed: Of all its cases.
        kinds: How many cases came to what.
        faults: One entry for every fault, with the command that runs its case again.
        programs: How many programs XLA compiled.
        slowest: Seconds of the slowest case, of the processor.
        seconds: Of the whole run, by the clock.
    """

    part: str
    seed: int
    kinds: Counter[str] = field(default_factory=Counter)
    faults: list[dict[str, Any]] = field(default_factory=list)
    programs: int = 0
    slowest: float = 0.0
    seconds: float = 0.0

    def record(self) -> dict[str, Any]:
        """What the run came to, as a JSON object."""
        times = {"slowest": self.slowest, "seconds": self.seconds}
        return {"outcomes": dict(self.kinds), "programs": self.programs, "faults": self.faults, **times}


def run(part: str, seed: int, cases: Iterable[int], try_case: Callable[[int, int], Outcome]) -> Run:
    """Try the cases of one part, and print every fault.

    Args:
        part: The part's name.
        seed: Of all its cases.
        cases: Their numbers.
        try_case: Tries the case of a seed and a number.
    """
    result, begin, compiled = Run(part, seed), time.monotonic(), _programs()[0]
    for number, case in enumerate(cases, start=1):
        if number % _TOGETHER == 0:
            jax.clear_caches()  # compiled programs would fill the memory
        start = time.process_time()
        faulthandler.dump_traceback_later(10 * LONGEST, exit=True)  # a hang that no signal ends, in compiled code say
        outcome = _guarded(try_case, seed, case)
        faulthandler.cancel_dump_traceback_later()
        seconds = time.process_time() - start
        result.slowest = max(result.slowest, seconds)
        fault = outcome.fault
        if fault is None and seconds > LONGEST:
            fault = f"it took {seconds:.0f} s"
        result.kinds[outcome.kind if fault is None else "fault"] += 1
        if fault is not None:
            again = f"python -m tests.fuzz {part} --seed {seed} --case {case}"
            result.faults.append({"fault": fault, "again": again, **outcome.about})
            print(f"{again}\n  {fault}\n  {outcome.about}", flush=True)
    result.seconds, result.programs = time.monotonic() - begin, _programs()[0] - compiled
    return result


@functools.cache
def _programs() -> list[int]:
    """A counter of the programs that XLA compiles, or fetches from its cache, from now on."""
    count = [0]

    def seen(event: str, seconds: float, **_: Any) -> None:
        count[0] += event == "/jax/core/compile/backend_compile_duration"

    jax.monitoring.register_event_duration_secs_listener(seen)
    return count


def _guarded(try_case: Callable[[int, int], Outcome], seed: int, case: int) -> Outcome:
    """The outcome, also where the case, or the fuzz command itself, raises."""
    try:
        return try_case(seed, case)
    except Hang as hang:
        return Outcome("fault", str(hang))
    except Exception:
        return Outcome("fault", "an exception: " + traceback.format_exc(limit=-6))

"""measure: one workload, its libraries prepared and then timed in turns."""

import datetime
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kuttax.io.records import Record

from . import machine
from .libraries import LIBRARIES
from .peer import PeerError
from .workload import Workload

_TARGET = ("diffrax-tuned", "diffrax", "kuttax")  # the first of these says what error the others must meet


class Answers(Protocol):
    """A worker, wherever it runs."""

    def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a message; see `worker.py`."""
        ...


@dataclass(frozen=True)
class Turns:
    """How long everyone is timed.

    Attributes:
        rounds: How often each library has its turn.
        seconds: How long a turn lasts, at least.
        most: The most repeats in a turn.
        pause: Seconds between two turns: threads that spin when idle must have gone to sleep.
    """

    rounds: int
    seconds: float
    most: int
    pause: float = 0.05


def measure(
    workload: Workload, workers: Mapping[str, Answers], turns: Turns, reference: Path | None, *, smoke: bool = False
) -> list[Record]:
    """The records of one workload, one for each library and kind of work.

    Args:
        workload: What to do.
        workers: The workers by library.
        turns: How long everyone is timed.
        reference: The file with the solution; without it no errors are known.
        smoke: Whether `workload` is the small one of its name.
    """
    prepared, left_out = _prepare(workload, workers, reference, smoke)
    times, elsewhere = _take_turns(workload, {name: workers[name] for name in prepared}, turns)
    facts = _facts(workload, smoke) | {"elsewhere": elsewhere, "left_out": left_out}
    made = []
    for (name, kind), rounds in times.items():
        reply = dict(prepared[name])
        about = reply.pop("kinds")[kind]
        library = {"name": name, "library": LIBRARIES[name].module, "variant": LIBRARIES[name].variant}
        made.append({**facts, **library, "kind": kind, **reply, **about, "rounds": rounds})
    return made


def _prepare(
    workload: Workload, workers: Mapping[str, Answers], reference: Path | None, smoke: bool
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The answers of those that can do it, in the order of `workers`, and why the others cannot."""
    message = {"do": "prepare", "workload": workload.name, "smoke": smoke, "reference": reference and str(reference)}
    first = next((name for name in _TARGET if name in workers), None)
    target, replies, left_out = None, {}, {}
    late = lambda name: LIBRARIES[name].module == "limit" or LIBRARIES[name].twin is not None
    for name in sorted(workers, key=lambda name: (name != first, late(name))):
        is_first = first is not None and LIBRARIES[name].module == LIBRARIES[first].module
        counts = {key: value for key, value in replies.get("kuttax", {}).items() if key in ("nfe", "accepted")}
        tolerance = replies.get(LIBRARIES[name].twin, {}).get("tolerance")
        asked = {"target": None if is_first else target, "counts": counts or None, "tolerance": tolerance}
        question = {**message, **asked}
        try:
            reply = workers[name].ask(question)
        except PeerError as death:
            reply = {"skipped": str(death)}
        if "skipped" in reply:
            left_out[name] = reply["skipped"]
            print(f"{workload.name}: {name} left out: {reply['skipped']}", file=sys.stderr)
            continue
        replies[name] = reply
        if name == first and workload.steps is None:
            target = reply.get("error_y1")
    return {name: replies[name] for name in workers if name in replies}, left_out


def _take_turns(
    workload: Workload, workers: Mapping[str, Answers], turns: Turns
) -> tuple[dict[tuple[str, str], list[list[float]]], list[float | None]]:
    """Seconds of every repeat, by library and kind, one list a round, and what else kept the machine busy meanwhile.

    Each round begins with another library.
    """
    names = list(workers)
    times: dict[tuple[str, str], list[list[float]]] = {(name, kind): [] for name in names for kind in workload.kinds}
    elsewhere = []
    for turn in range(turns.rounds):
        others = _Others()
        for kind in workload.kinds:
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                time.sleep(turns.pause)
                question = {"do": "time", "kind": kind, "seconds": turns.seconds, "most": turns.most}
                answer = workers[name].ask(question)
                times[name, kind].append(answer["seconds"])
                others.ours += answer["cpu_s"]
        elsewhere.append(others.share())
    return times, elsewhere


class _Others:
    """Who else uses the processors, from here on.

    Attributes:
        ours: Processor time that the workers took.
    """

    def __init__(self):
        self.ours = 0.0
        self._start = self._now()

    def share(self) -> float | None:
        """The part of all processors' time that went to other processes; None where nothing tells."""
        (wall, busy), (wall_then, busy_then) = self._now(), self._start
        if busy is None or busy_then is None:
            return None
        return round(max(0.0, busy - busy_then - self.ours) / (wall - wall_then) / machine.cores(), 3)

    def _now(self) -> tuple[float, float | None]:
        return time.perf_counter(), machine.busy_seconds()


def _facts(workload: Workload, smoke: bool) -> dict[str, Any]:
    """What every record of a workload says of it and of its circumstances."""
    problem = workload.problem
    return {
        "workload": workload.name,
        "group": workload.group,
        "method": workload.method,
        "steps": workload.steps,
        "nominal_tolerance": workload.tolerance,
        "per_sample": workload.per_sample,
        "field": problem.field,
        "sizes": problem.sizes,
        "batch": problem.batch,
        "t1": problem.t1,
        "times": problem.times,
        "own_times": problem.own_times,
        "dtype": "float32",
        "seed": problem.seed,
        "smoke": smoke,
        "cores": machine.cores(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }

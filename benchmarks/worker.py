"""The worker: one library's process for one workload. It reads a JSON object a line and answers each with one.

`python -m benchmarks.worker LIBRARY DEVICE`, started by `peer.py`:

- {"do": "prepare", "workload": ..., "smoke": ..., "reference": FILE or null, "target": ERROR or null, "counts": ...,
  "tolerance": the one to take, or null}
- {"do": "time", "kind": "gradient" or "forward", "seconds": ..., "most": ...}: {"seconds": [...], "cpu_s": ...}
"""

import json
import os
import sys
import time
from typing import Any

from . import machine, memory, workloads
from .libraries import LIBRARIES
from .libraries.contract import Run, Unsupported, counted
from .reference import Reference
from .workload import Workload

_LADDER = range(-6, 7)
_LEAST_TOLERANCE = 1e-6  # what float32 just carries
_FEWEST, _PATIENCE = 3, 10


class Worker:
    """One library and the workload that it is at."""

    def __init__(self, library: str, device: str):
        self.library, self.device = LIBRARIES[library], device
        self.run: Run | None = None

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """Do what a message asks. A workload that the library cannot do is answered by {"skipped": why}."""
        if message["do"] == "time":
            start = time.process_time()
            seconds = self._time(message["kind"], message["seconds"], message["most"])
            return {"seconds": seconds, "cpu_s": time.process_time() - start}
        workload = workloads.find(message["workload"], smoke=message["smoke"])
        reference = message["reference"] and Reference.load(message["reference"])
        try:
            return self._prepare(workload, reference, message["target"], message["counts"], message.get("tolerance"))
        except Unsupported as reason:
            return {"skipped": str(reason)}

    def _prepare(
        self, workload: Workload, reference: Reference | None, target: float | None, counts: Any, tolerance: Any
    ) -> dict[str, Any]:
        self.run = run = self.library.build(workload, self.device, counts)
        # The gradient first: its compilation is then as cold as a user's.
        kinds = {kind: run.compile(kind) for kind in workload.kinds}
        for kind, record in kinds.items():
            record["first_call_s"] = _seconds(getattr(run, kind))
        if self.library.module == "limit" or self.library.twin is not None:
            reference = None  # it solves nothing, or saves at other times
        if tolerance is not None:
            run.tolerance = tolerance
        if reference is not None and target is not None:
            run.tolerance = _loosest(run, workload, reference, target)
        gradient, peak = memory.with_peak(run.gradient)
        kinds["gradient"] |= {"peak_rss_mib": peak, "peak_device_mib": run.device_peak_mib()}
        return {
            "kinds": kinds,
            "tolerance": run.tolerance,
            "target_error": target,
            **_outcome(run, gradient, reference),
            "versions": machine.versions(self.library.packages),
            "device": run.device() or machine.processor(),
        }

    def _time(self, kind: str, seconds: float, most: int) -> list[float]:
        """Repeats until they add up to `seconds`: at least three, unless these take very long, and at most `most`."""
        repeat = getattr(self.run, kind)
        times = [_seconds(repeat)]
        while len(times) < most and sum(times) < (seconds if len(times) >= _FEWEST else _PATIENCE * seconds):
            times.append(_seconds(repeat))
        return [round(t, 8) for t in times]


def _seconds(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _outcome(run: Run, gradient: Any, reference: Reference | None) -> dict[str, Any]:
    """What was counted, and how far off the outputs and the gradient are."""
    outputs, counts = run.forward()
    found: dict[str, Any] = counted(counts["nfe"], counts.get("accepted"), counts.get("rejected"))
    if reference is not None:
        weights, y0 = gradient
        found["error_y1"] = reference.output_error(run.numpy(outputs))
        found["error_gradient"] = reference.gradient_error([run.numpy(w) for w in weights], run.numpy(y0))
    return found


def _loosest(run: Run, workload: Workload, reference: Reference, target: float) -> float:
    """The loosest tolerance on a ladder of powers of two, from tight to loose, before the error first exceeds `target`.

    The tightest one where even that exceeds it.
    """
    assert workload.tolerance is not None
    rungs = [workload.tolerance * 2.0**k for k in _LADDER if workload.tolerance * 2.0**k >= _LEAST_TOLERANCE]
    taken = rungs[0]
    for rung in rungs:
        run.tolerance = rung
        if reference.output_error(run.numpy(run.forward()[0])) > target:
            break
        taken = rung
    return taken


def _main(library: str, device: str) -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    worker = Worker(library, device)
    for line in sys.stdin:
        print(json.dumps(worker.answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])

"""What it costs to share a batch: `kuttax train digits` on one device, on two, and in two processes.

    python -m experiments.scale-out.run [--out DIR] [--repeats 3] [--smoke]

Devices are cores of this machine's CPU: made by a flag of XLA, or one in each of two processes that are joined by
JAX over localhost. One device uses all cores already, so that nothing can be won here; what is seen is what sharing
costs, and that losses stay what they are. Every run is a record in records.jsonl; what is recorded is not repeated.
"""

import argparse
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kuttax.commands.program import ending
from kuttax.io import records

from ..ledger import Ledger

DIGITS = "--batch-size 512 --train-steps 200 --evaluations 2 --distributed"
CASES = {
    "rk4": "--solver rk4 --steps 4",
    "joint": "--solver dopri5 --rtol 1e-4 --atol 1e-4",
    "per-sample": "--solver dopri5 --rtol 1e-4 --atol 1e-4 --control per_sample",
}
SMOKE = "--width 4 --train-steps 4 --per-dispatch 2"


class Machines(NamedTuple):
    """How many processes share a batch, and how many devices each of them has."""

    processes: int
    devices: int


SETTINGS = {"one": Machines(1, 1), "two devices": Machines(1, 2), "two processes": Machines(2, 1)}


def train(case: str, machines: Machines, *, smoke: bool) -> dict[str, Any]:
    """One run in processes of its own; returns what is kept of its record, with the loss of the last dispatch."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        options = f"train digits {DIGITS} {CASES[case]} {SMOKE if smoke else ''} --out {out}"
        in_processes(["-m", "kuttax", *options.split()], machines)
        record = json.loads((out / "record.json").read_text())
        loss = records.read(out / "metrics.jsonl")[-1]["loss"]
    kept = ("step_ms", "compile_seconds", "nfe", "batch_size", "devices", "processes")
    return {"cores": len(os.sched_getaffinity(0)), "loss": loss, **{name: record[name] for name in kept}}


def in_processes(arguments: list[str], machines: Machines) -> None:
    """Python in each process, told of the others.

    Raises:
        SystemExit: A process failed; its output says why.
    """
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={machines.devices}"
    about = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    if machines.processes > 1:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            about["JAX_COORDINATOR_ADDRESS"] = f"localhost:{free.getsockname()[1]}"
        about["JAX_NUM_PROCESSES"] = str(machines.processes)
    started = [
        subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, **about, **({"JAX_PROCESS_ID": str(i)} if machines.processes > 1 else {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(machines.processes)
    ]
    said = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        sys.exit("\n".join(said))


def main(arguments: Sequence[str] | None = None) -> None:
    """All cases in all settings, in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="one tiny run on two devices")
    asked = parser.parse_args(arguments)
    ledger = Ledger(asked.out / "records.jsonl")
    cases, settings = (["rk4"], ["two devices"]) if asked.smoke else (CASES, SETTINGS)
    for repeat, case, setting in itertools.product(range(1 if asked.smoke else asked.repeats), cases, settings):
        about = {"case": case, "setting": setting, "repeat": repeat}
        ledger.once(about, lambda: train(case, SETTINGS[setting], smoke=asked.smoke))  # noqa: B023


if __name__ == "__main__":
    ending.run(main, program="experiments")

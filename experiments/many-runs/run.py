"""Twenty seeds of a comparison: one after the other, on four workers of which one is killed, and in five shards.

    python -m experiments.many-runs.run [--seeds 20] [--work DIR]

Needs dask (the extra "cluster"). Appends one record to records.jsonl: whether all three have the same numbers, bit for
bit, and how long each took.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from kuttax.commands.program import ending
from kuttax.commands.run import environment
from kuttax.io import records
from kuttax.io.records import Record

HERE = Path(__file__).parent
COMPARE = ("compare", "digits", "--methods", "learned", "--nfe", "4", "--train-steps", "200")
WORKERS, SHARDS = 4, 5
OF_THE_CLOCK = {"train_seconds", "compile_seconds", "step_ms", "predict_ms", "when"}
"""What differs between two runs of the same numbers."""


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "kuttax", *words]


def finished(out: Path) -> list[Record]:
    """The records of the runs of a comparison so far."""
    path = out / "records.jsonl"
    return [record for record in records.read(path) if record["kind"] == "run"] if path.exists() else []


def serial(out: Path, seeds: int) -> dict[str, Any]:
    subprocess.run(command(*COMPARE, "--seeds", str(seeds), "--out", str(out)), check=True, stdout=subprocess.DEVNULL)
    return {}


def workers(out: Path, seeds: int) -> dict[str, Any]:
    """On workers; one that is in the middle of a run is killed after the first record."""
    words = command(*COMPARE, "--seeds", str(seeds), "--workers", str(WORKERS), "--out", str(out))
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as run:
        while run.poll() is None and not finished(out):
            time.sleep(0.2)
        before = len(finished(out))
        busy = max(psutil.Process(run.pid).children(recursive=True), key=lambda child: child.cpu_times().user)
        busy.kill()
    return {"killed_after": before, "exit": run.returncode}


def shards(out: Path, seeds: int) -> dict[str, Any]:
    """In shards, which are merged."""
    parts = [out.with_name(f"part{i}") for i in range(1, SHARDS + 1)]
    for i, part in enumerate(parts, 1):
        words = command(*COMPARE, "--seeds", str(seeds), "--shard", f"{i}/{SHARDS}", "--out", str(part))
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    merge = command("report", *map(str, parts), "--out", str(out))
    subprocess.run(merge, check=True, stdout=subprocess.DEVNULL)
    return {}


def numbers(out: Path) -> dict[tuple[str, int], Record]:
    """The records without what the clock says; none may be there twice."""
    found = finished(out)
    keyed = {(r["label"], r["seed"]): {k: v for k, v in r.items() if k not in OF_THE_CLOCK} for r in found}
    if len(keyed) != len(found):
        raise SystemExit(f"{out} has a run twice")
    return keyed


def study(work: Path, seeds: int) -> Record:
    """The three ways, each in a folder of its own."""
    found: dict[str, Any] = {"kind": "many-runs", "seeds": seeds}
    for how in (serial, workers, shards):
        began = time.perf_counter()
        about = how(work / how.__name__, seeds)
        found[how.__name__] = {
            "records": len(numbers(work / how.__name__)),
            "seconds": time.perf_counter() - began,
            **about,
        }
        print(how.__name__, found[how.__name__], flush=True)
    first = numbers(work / "serial")
    same = {how.__name__: numbers(work / how.__name__) == first for how in (workers, shards)}
    return {**found, "same_bits": same, **environment()}


def main(arguments: Sequence[str] | None = None) -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seeds", type=int, default=20)
    made.add_argument("--work", type=Path, help="where the comparisons go; default: a folder that is removed")
    given = made.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        record = study(given.work or Path(folder), given.seeds)
    records.append(HERE / "records.jsonl", record)
    print(record["same_bits"])


if __name__ == "__main__":
    ending.run(main, program="experiments")

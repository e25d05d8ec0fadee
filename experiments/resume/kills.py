"""Fifty kills of `kuttax train` at random moments and ten damaged checkpoints: does every run end in the same bits?

    python -m experiments.resume.kills [--out DIR] [--kills 50] [--damages 10] [--seed 0] [--smoke]

Runs of three kinds are started in processes of their own, killed (SIGKILL) and resumed until they end; model and solver
are then compared, byte by byte, with those of a run that nothing stopped. Half of the moments are drawn from the whole
life of a process, start and compilation and evaluation among it, and half from the time that training takes.
Every kill, damage and end is a record in records.jsonl; what is recorded there is not repeated. table.md is drawn from
the records alone.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import jax
import numpy as np

from kuttax.commands import main as cli
from kuttax.commands.program import ending
from kuttax.io import records
from kuttax.io.records import Record

DIGITS = "digits --width 16 --batch-size 72 --evaluations 5 --checkpoint-seconds 0"
CASES = {
    "midpoint": "--solver midpoint --steps 2 --train-steps 2000 --on-failure rollback",
    "learned": "--solver learned --stages 2 --steps 2 --train-steps 1500",
    "controlled": "--solver bosh3 --rtol 1e-3 --atol 1e-3 --step-control ott --train-steps 600",
}
SMOKE = "--train-steps 200 --width 4"
ENDS = ("model.eqx", "solver.json")


class Process:
    """One process of `kuttax train ... --resume`, or of another `start`, whose output is kept.

    It is forked from this one, which has imported kuttax and never computes anything itself: half of the time would
    otherwise go into imports.
    """

    def __init__(self, case: str, directory: Path, smoke: bool, start: str = "--resume", output: Path | None = None):
        options = f"{DIGITS} {CASES[case]} {SMOKE if smoke else ''}"
        self.output, self._code = output or directory.with_suffix(".out"), None
        self.begin = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            train(["train", *options.split(), "--out", str(directory), start], self.output)

    @property
    def running(self) -> bool:
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code is None

    def wait(self, until: Callable[[], bool]) -> bool:
        """Wait until something has happened; False where the process has ended before."""
        while self.running:
            if until():
                return True
            time.sleep(0.005)
        return False

    def end(self, *, kill: bool = False) -> tuple[int, str]:
        """The exit code (negative for a kill) and the output."""
        if kill and self.running:
            os.kill(self.pid, signal.SIGKILL)
        while self.running:
            time.sleep(0.005)
        assert self._code is not None
        return self._code, self.output.read_text(errors="replace")


def train(arguments: list[str], output: Path) -> NoReturn:
    """What a child of this process does: the command line, all of whose output goes to a file."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    code = 1
    jax.config.update("jax_platforms", "cpu")
    try:
        cli.main(arguments)
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(code)


def environment() -> dict[str, Any]:
    """Versions and device, as a child sees them: after a computation of its own no process can be forked safely."""
    code = "import json; from kuttax.commands.run import environment; print(json.dumps(environment()))"
    return json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


class Whole(NamedTuple):
    """A run that nothing stops: how long it takes, how long of it is training, and what it ends with."""

    seconds: float
    training: float
    files: list[bytes]


class Study:
    """The kills of all kinds of run.

    Args:
        path: The file that the records go to.
        seed: Of the moments and the damages.
        smoke: Tiny sizes.
        scratch: Where the runs are; not kept.
    """

    def __init__(self, path: Path, seed: int, smoke: bool, scratch: Path):
        self.path, self.smoke, self.scratch = path, smoke, scratch
        self.rng = np.random.default_rng([seed, len(self.all())])
        self.environment = environment()
        self._whole: dict[str, Whole] = {}
        self._runs: dict[str, Run] = {}

    def all(self, kind: str | None = None) -> list[Record]:
        """What is recorded."""
        found = records.read(self.path) if self.path.exists() else []
        return [record for record in found if kind in (None, record["kind"])]

    def append(self, kind: str, **about: Any) -> None:
        records.append(self.path, {"kind": kind, **about, **self.environment})
        print(kind, about, flush=True)

    def whole(self, case: str) -> "Whole":
        """A run that nothing stops."""
        if case not in self._whole:
            directory = self.scratch / f"whole-{case}"
            process = Process(case, directory, self.smoke)
            process.wait((directory / "checkpoints").exists)
            first = time.monotonic()
            process.wait((directory / "model.eqx").exists)
            last = (directory / "metrics.jsonl").stat().st_mtime - time.time() + time.monotonic()
            code, output = process.end()
            assert code == 0, output
            self._whole[case] = Whole(time.monotonic() - process.begin, last - first, ended(directory))
        return self._whole[case]

    def kill(self, case: str, *, damage: bool) -> None:
        """Let a run of this kind go on until it is killed, from its beginning if there is none under way."""
        if case not in self._runs:
            self._runs[case] = Run(self, case)
        self._runs[case].kill(damage=damage)

    def finish(self) -> None:
        """Let all runs that are under way go on to their end."""
        for run in list(self._runs.values()):
            run.finish()

    def done(self, run: "Run") -> None:
        del self._runs[run.case]


class Run:
    """A run that is killed and resumed until it ends."""

    def __init__(self, study: Study, case: str):
        self.study, self.case, self.kills = study, case, 0
        self.whole = study.whole(case)
        self.directory = Path(tempfile.mkdtemp(dir=study.scratch)) / "run"
        self.damaged: list[dict[str, Any]] = []

    @property
    def step(self) -> int:
        """Optimiser steps in the log."""
        path = self.directory / "metrics.jsonl"
        rows = path.read_text().splitlines()[:-1] if path.exists() else []
        return json.loads(rows[-1])["step"] if rows else 0

    @property
    def checkpoints(self) -> list[Path]:
        return sorted((self.directory / "checkpoints").glob("*.ckpt"))

    def kill(self, *, damage: bool) -> None:
        """One kill at a random moment; where the run ends before it, that is recorded, and nothing is killed."""
        rng, before = self.study.rng, self.checkpoints[-1:]
        late, share = bool(rng.integers(2)), rng.random()
        process = Process(self.case, self.directory, self.study.smoke)
        if late:
            process.wait(lambda: self.checkpoints[-1:] > before)
        moment = time.monotonic() + share * (self.whole.training if late else self.whole.seconds)
        if not process.wait(lambda: time.monotonic() >= moment):
            self._ended(process)
            return
        seconds = time.monotonic() - process.begin
        code, output = process.end(kill=True)
        if code >= 0:
            self._ended(process)
            return
        self.kills += 1
        self._noticed(output)
        writing = bool(list(self.directory.rglob("*.partial")))
        self.study.append("kill", case=self.case, seconds=seconds, step=self.step, training=late, writing=writing)
        if damage and len(self.checkpoints) > 1 and not self.damaged:
            self._damage()

    def finish(self) -> None:
        self._ended(Process(self.case, self.directory, self.study.smoke))

    def _ended(self, process: Process) -> None:
        code, output = process.end()
        assert code == 0, output
        self._noticed(output)
        for damage in self.damaged:
            self.study.append("damage", **damage, noticed=False)
        equal = ended(self.directory) == self.whole.files
        steps = [row["step"] for row in records.read(self.directory / "metrics.jsonl")]
        once = steps == sorted(set(steps))
        self.study.append("end", case=self.case, kills=self.kills, equal=equal, rows_once=once)
        self.study.done(self)
        shutil.rmtree(self.directory.parent)

    def _damage(self) -> None:
        """Spoil the newest checkpoint."""
        rng, path = self.study.rng, self.checkpoints[-1]
        content = bytearray(path.read_bytes())
        how = str(rng.choice(["truncated", "one bit flipped", "empty", "another version"], p=[0.3, 0.4, 0.1, 0.2]))
        match how:
            case "truncated":
                content = content[: rng.integers(1, len(content))]
            case "one bit flipped":
                content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
            case "empty":
                content = bytearray()
            case _:
                content = content.replace(b'"version": 1', b'"version": 2', 1)
        path.write_bytes(content)
        self.damaged.append({"case": self.case, "how": how, "file": path.name})

    def _noticed(self, output: str) -> None:
        """Whether what is damaged was said to be, by a process that came to look at it."""
        if self.damaged and "going on" in output:
            for damage in self.damaged:
                noticed = f"{damage['file']} is damaged" in " ".join(output.split())
                self.study.append("damage", **damage, noticed=noticed)
            self.damaged = []


def ended(directory: Path) -> list[bytes]:
    """Model and solver of a run that has ended, as they are on the disk."""
    assert json.loads((directory / "record.json").read_text())["kind"] == "run"
    return [(directory / name).read_bytes() for name in ENDS]


def table(found: list[Record]) -> str:
    """The records in a table."""
    lines = [
        "| run | kills | in a write | runs ended | in the same bits | damaged | noticed |",
        "|:--|--:|--:|--:|--:|--:|--:|",
    ]
    for case in CASES:
        own = [record for record in found if record["case"] == case]
        of = lambda kind, *flags: sum(r["kind"] == kind and all(r[f] for f in flags) for r in own)  # noqa: B023
        cells = [of("kill"), of("kill", "writing"), of("end"), of("end", "equal", "rows_once")]
        lines.append("| " + " | ".join(map(str, [case, *cells, of("damage"), of("damage", "noticed")])) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--kills", type=int)
    parser.add_argument("--damages", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="two kills and one damage of tiny runs")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", message=r"os\.fork")  # JAX has no threads yet: nothing is computed here
    kills = given.kills if given.kills is not None else 2 if given.smoke else 50
    damages = given.damages if given.damages is not None else 1 if given.smoke else 10
    with tempfile.TemporaryDirectory() as scratch:
        study = Study(given.out / "records.jsonl", given.seed, given.smoke, Path(scratch))
        cases = list(CASES)[:1] if given.smoke else list(CASES)
        turn = 0
        while len(study.all("kill")) < kills or len(study.all("damage")) < damages:
            study.kill(cases[turn % len(cases)], damage=len(study.all("damage")) < damages)
            turn += 1
        study.finish()
    drawn = table(study.all())
    (given.out / "table.md").write_text(drawn)
    print(drawn)
    ends, damage = study.all("end"), study.all("damage")
    if not all(r["equal"] and r["rows_once"] for r in ends) or not all(r["noticed"] for r in damage):
        sys.exit("a run did not end in the same bits, or a damaged checkpoint was not noticed: see records.jsonl")


if __name__ == "__main__":
    ending.run(main, program="experiments")

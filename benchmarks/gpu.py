"""gpu: what one GPU measures in some minutes. What is recorded is skipped, so that the next call goes on."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from kuttax.errors import UserError
from kuttax.io import records
from kuttax.io.records import Record
from kuttax.options.bounds import above, check_bounds

from . import workloads
from .libraries import LIBRARIES
from .measure import Turns, measure
from .peer import Peer, PeerError, Versions, environment, installed, peers
from .run import chosen, is_done
from .training import TRAININGS
from .workload import Workload
from .workloads import ON_GPU

_LEAST_SECONDS = 30.0
"""With less than this left, nothing more is begun."""


@dataclass(frozen=True)
class Gpu:
    """Measure on a GPU: solves at large sizes, and the training of Pal et al. (2023) on MNIST. Append the records.

    What is in the file already, with the same versions, is not measured again. When the minutes are over, what is being
    measured is stopped, and the command ends and names what is left: run it again to go on.
    """

    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("benchmarks/records/gpu.jsonl")
    """Append the records to this file."""
    minutes: Annotated[float, above(0)] = 8.0
    """Stop after this many minutes."""
    only: str | None = None
    """Measure these workloads, with commas between them (default: all)."""
    runs: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/gpu")
    """Keep the trainings, and what they need to go on, in this folder."""
    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Read MNIST from this folder, as kuttax train does (default: download it once)."""
    torch_python: Annotated[str, tyro.conf.arg(metavar="PYTHON")] = sys.executable
    """Run the libraries on PyTorch with this Python interpreter; its PyTorch needs CUDA."""
    smoke: bool = False
    """Run everything at tiny sizes on the CPU, as a check; the times mean nothing."""

    def __post_init__(self):
        check_bounds(self)

    def __call__(self) -> None:
        """Measure until all is recorded or the minutes are over, and name what is left.

        Raises:
            UserError: JAX finds no GPU, or an option cannot work.
        """
        end = time.monotonic() + 60 * self.minutes
        names = chosen(self.only, "--only", {name: [name] for name in (*ON_GPU, *TRAININGS)})
        if not self.smoke and not _has_gpu():
            raise UserError("JAX finds no GPU: pip install 'kuttax[cuda]', or check everything on the CPU with --smoke")
        there = installed([name for name in LIBRARIES if _is_wanted(name)], self.torch_python)
        left = [name for name in names if not self._is_done(name, there) and not self._measure(name, there, end)]
        print(f"left: {', '.join(left)}; run the command again" if left else "all is measured", flush=True)

    @property
    def _device(self) -> str:
        return "cpu" if self.smoke else "cuda"

    def _is_done(self, name: str, there: Mapping[str, Versions]) -> bool:
        done = records.read(self.out) if self.out.exists() else []
        if name in TRAININGS:
            return TRAININGS[name].is_in(done, smoke=self.smoke)
        workload = workloads.find(name, smoke=self.smoke)
        return is_done(workload, {name: there[name] for name in workload.libraries if name in there}, done, self.smoke)

    def _measure(self, name: str, there: Mapping[str, Versions], end: float) -> bool:
        """Append the records of one workload or training; False if there was no time for it, or it failed."""
        seconds = end - time.monotonic()
        if seconds < (0 if self.smoke else _LEAST_SECONDS):
            return False
        if name in TRAININGS:
            made = TRAININGS[name].run(self.runs, self.data_dir, self._device, seconds, smoke=self.smoke)
            made = [] if made is None else [made]
        else:
            workload = workloads.find(name, smoke=self.smoke)
            made = self._solve(workload, [name for name in workload.libraries if name in there], seconds)
        for record in made:
            records.append(self.out, record)
        if made:
            print(f"{name}: measured, {(end - time.monotonic()) / 60:.1f} minutes left", flush=True)
        return bool(made)

    def _solve(self, workload: Workload, names: list[str], seconds: float) -> list[Record]:
        """The records of one workload; none if it takes longer."""
        turns = Turns(workload.rounds, 0.01, 3) if self.smoke else Turns(workload.rounds, 0.3, 50)
        with peers(names, self._device, self.torch_python) as workers, _killing(workers, seconds) as over:
            try:
                made = measure(workload, workers, turns, None, smoke=self.smoke)
            except PeerError as death:
                made = []
                if not over.is_set():
                    print(f"{workload.name}: {death}", file=sys.stderr)
        return [] if over.is_set() else made


@contextlib.contextmanager
def _killing(workers: Mapping[str, Peer], seconds: float) -> Iterator[threading.Event]:
    """Kill the workers after so many seconds, if the block still runs; the event is then set."""
    over = threading.Event()

    def end() -> None:
        over.set()
        for worker in workers.values():
            worker.kill()

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        yield over
    finally:
        timer.cancel()


def _is_wanted(library: str) -> bool:
    return any(library in workload.libraries for workload in ON_GPU.values())


def _has_gpu() -> bool:
    asked = [sys.executable, "-c", "import jax; jax.devices('cuda')"]
    return subprocess.run(asked, env=environment("cuda"), capture_output=True).returncode == 0

"""Trainings at the scale of a paper, by `kuttax train`: the time of a step."""

import datetime
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kuttax.io.records import Record

from . import machine
from .libraries import LIBRARIES
from .peer import environment

_RECORDED = ("nfe", "step_ms", "train_seconds", "compile_seconds", "predict_ms", "test", "solver", "dtype")


@dataclass(frozen=True)
class Training:
    """The neural ODE of Pal et al. (ICML 2023) on MNIST: 7,500 steps, batch 512.

    Attributes:
        name: What options and records call it.
        solver: The options of its solver.
    """

    name: str
    solver: tuple[str, ...]

    def run(self, folder: Path, data_dir: Path | None, device: str, seconds: float, *, smoke: bool) -> Record | None:
        """Train, or continue the training in `folder`, for at most so many seconds; its record if it has ended well.

        A smoke run has four steps on the digits of scikit-learn, which need no file.
        """
        out = folder / self.name
        words = self._words(data_dir, smoke)
        options = [*words, "--out", str(out), "--resume"]
        process = subprocess.Popen([sys.executable, "-m", "kuttax", *options], env=environment(device))
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.terminate()  # it saves what it has
            process.wait()
            return None
        finally:
            process.kill()
        return None if code else self._record(json.loads((out / "record.json").read_text()), words, smoke)

    def is_in(self, done: list[Record], *, smoke: bool) -> bool:
        """Whether one of these records is of it, with the versions of now."""
        versions = machine.versions(LIBRARIES["kuttax"].packages)
        about = {"workload": self.name, "smoke": smoke, "versions": versions}
        return any(all(record.get(key) == value for key, value in about.items()) for record in done)

    def _words(self, data_dir: Path | None, smoke: bool) -> list[str]:
        if smoke:
            return ["train", "digits", *self.solver, "--train-steps", "4", "--batch-size", "16", "--width", "4"]
        data = [] if data_dir is None else ["--data-dir", str(data_dir)]
        return ["train", "mnist", *self.solver, "--train-steps", "7500", "--batch-size", "512", *data]

    def _record(self, found: dict[str, Any], words: list[str], smoke: bool) -> Record:
        """What the table needs; it has no turns and no rounds."""
        if "--data-dir" in words:
            words = words[: words.index("--data-dir")]  # no paths in records
        return {
            "workload": self.name,
            "group": "training",
            "name": "kuttax",
            "kind": "training",
            "command": " ".join(["kuttax", *words]),
            **{name: found[name] for name in _RECORDED},
            "steps": found["steps_trained"],
            "batch": found["batch_size"],
            "smoke": smoke,
            "versions": machine.versions(LIBRARIES["kuttax"].packages),
            "device": machine.processor() if found["device"] == "cpu" else found["device"],
            "cores": machine.cores(),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "rounds": [],
            "elsewhere": [],
            "left_out": {},
        }


_ALL = (
    Training("mnist-learned", ("--solver", "learned", "--stages", "4", "--steps", "2")),
    Training("mnist-tsit5", ("--solver", "tsit5", "--rtol", "1e-6", "--atol", "1e-6")),
)
TRAININGS = {training.name: training for training in _ALL}
"""Every training by its name."""

"""One run of a comparison, from plain values alone, so that any process can do it."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from ...io.checkpoints import Checkpoints
from ...io.folder import Folder
from ...io.lock import Lock
from ...io.records import Record
from ...tasks.base import Task
from ...tasks.options import TaskOptions
from ...training.checkpoint import options_as_json
from ...training.loop import Trainer
from ..options.compared import ComparedOptions
from ..options.method import ComparedMethod
from ..program.ending import of_one_run
from ..program.terminal import terminal
from ..run import run
from ..saved.output import CHECKPOINTS, listed
from .workers import ONE_AT_A_TIME

COMMAND = "compare"
"""The command that the files of a run belong to."""


@dataclass(frozen=True)
class Comparison:
    """What all runs of a comparison share.

    Attributes:
        name, options: The named task.
        compared: The methods and the settings; its batch is no larger than the data.
        checkpoint_seconds: The smallest time between two checkpoints of a run.
    """

    name: str
    options: TaskOptions
    compared: ComparedOptions
    checkpoint_seconds: float

    def trainer(self, task: Task, method: ComparedMethod) -> Trainer:
        """The trainer of a method, for every seed."""
        training = self.compared.training
        return Trainer(task, method.solver, training, method.penalty.scheduled(training.train_steps))

    def about(self, method: ComparedMethod, seed: int) -> dict[str, Any]:
        """The description of a run in its record."""
        about = {"task": self.name, "method": method.name, "label": method.label, "budget": method.budget}
        return {**about, **method.penalty.about, "seed": seed}


def one_run(
    comparison: Comparison,
    method: ComparedMethod,
    trainer: Trainer,
    seed: int,
    folder: Folder,
    console: Console,
    *,
    resume: bool,
) -> Record:
    """Train and test with one method and seed; returns the record, of a failure if training failed.

    Its files go to `folder`. The caller calls `clear_checkpoints` once the record is saved.
    """
    about = comparison.about(method, seed)
    folder.claim(*listed())
    checkpoints = Checkpoints(folder.path / CHECKPOINTS, every=comparison.checkpoint_seconds)
    told = {name: value for name, value in about.items() if name != "seed"}
    try:
        return run(
            trainer, seed, told, options_as_json(comparison.options), folder, console, checkpoints, resume=resume
        )
    except Exception as error:
        if (why := of_one_run(error)) is None:
            raise
        return {"kind": "failure", **about, "error": why}


def clear_checkpoints(folder: Folder) -> None:
    """Remove the checkpoints of a run."""
    Checkpoints(folder.path / CHECKPOINTS).clear()


def in_worker(comparison: Comparison, label: str, seed: int, path: Path) -> Record:
    """`one_run` in a process that has only plain values, without output.

    Task and compiled programs stay in the process for its next run. If an earlier process died during this run, it goes
    on from the last checkpoint. The folder is locked, against a process that is only believed to be dead.

    Args:
        comparison: What all runs share.
        label: The label of the method.
        seed: The seed.
        path: The folder of the run.
    """
    with ONE_AT_A_TIME, Lock(path) as lock:
        path.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        method, trainer = _built(comparison)[label]
        folder = Folder(path, COMMAND)
        return one_run(comparison, method, trainer, seed, folder, terminal(quiet=True), resume=True)


@functools.lru_cache(maxsize=1)
def _built(comparison: Comparison) -> dict[str, tuple[ComparedMethod, Trainer]]:
    """The methods of a comparison by their labels, each with its trainer."""
    task = comparison.options.build()
    methods = comparison.compared.rows(comparison.options, lambda text: None)
    return {method.label: (method, comparison.trainer(task, method)) for method in methods}

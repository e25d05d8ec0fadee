"""One run of a sweep, from plain values alone, so that any process can do it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ...errors import UserError
from ...io.lock import InUse
from ...io.records import Record
from ...tasks.options import TaskOptions
from ..program.ending import of_one_run
from ..program.terminal import terminal
from .workers import ONE_AT_A_TIME


@dataclass(frozen=True)
class Combination:
    """A command on a task with one value for each varied option.

    Attributes:
        command: The options of the command, such as `Train`, which has a method `record`.
        name, options: The named task.
        varied: The name of each varied option -> its value, as on the command line.
    """

    command: Any
    name: str
    options: TaskOptions
    varied: dict[str, str]

    @property
    def label(self) -> str:
        """Its name in tables and lines."""
        return ", ".join(f"{name}={value}" for name, value in self.varied.items())

    def about(self, seed: int) -> Record:
        """What a record says of its run with this seed."""
        return {
            "task": self.name,
            "method": self.label,
            "label": self.label,
            "budget": None,
            "options": self.varied,
            "seed": seed,
        }


def one_run(combination: Combination, seed: int, path: Path, console: Console) -> Record:
    """Make a run, or continue it if it was begun; returns the record, of a failure if the run failed.

    Args:
        combination: The command.
        seed: The seed.
        path: The folder of the run.
        console: For the progress.
    """
    command = replace(combination.command, seed=seed, out=path, overwrite=False, resume=path.exists())
    about = combination.about(seed)
    try:
        record = command.record(combination.name, combination.options, console)
    except InUse:
        raise
    except Exception as error:
        why = str(error) if isinstance(error, UserError) else of_one_run(error)
        if why is None:
            raise
        return {"kind": "failure", **about, "error": why}
    return {**record, "kind": "run", **about}


def in_worker(combination: Combination, seed: int, path: Path) -> Record:
    """`one_run` without output."""
    with ONE_AT_A_TIME:
        return one_run(combination, seed, path, terminal(quiet=True))

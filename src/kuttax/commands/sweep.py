"""`kuttax sweep COMMAND TASK`: train or fit with every combination of values of some options."""

import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from rich.console import Console

from ..errors import UserError
from ..io.folder import Folder
from ..io.records import Record
from ..options.unused import Unused
from ..report import run_name
from .batch.batch import Batch, Job
from .batch.options import BatchOptions
from .batch.swept_run import Combination, in_worker, one_run
from .configuration import of_task, save_configuration
from .options.parser import given
from .options.varied import Varied

COMMAND = "sweep"
"""The command that the files belong to."""
_OF_ONE_RUN = ("seed", "out", "overwrite", "resume", "checkpoint_seconds")
_OWN = ("seed", "distributed")  # options of these commands that a sweep decides itself


@dataclass(frozen=True, kw_only=True)
class SweptOptions:
    """What a sweep varies."""

    vary: tuple[Varied, ...] | None = None
    """Vary these options, each with its values: lr=0.001,0.003 width=8,16. A value in quotes may have several words,
    and other options behind it: "solver=dopri5,learned --stages 4". The values of a flag are yes and no."""


@dataclass(frozen=True, kw_only=True)
class Sweep(BatchOptions, SweptOptions):
    """Train, or fit, with every combination of the values of some options and every seed. Report each combination, and
    which one is best on validation data. All other options are those of the command, the same for every run."""

    example: ClassVar[str] = "--vary lr=0.001,0.003 batch-size=32,64 --workers 2"

    def unused(self) -> dict[str, Unused]:
        """The options that have no effect beside the others."""
        return self.unused_of_workers()

    def combinations(self, parsed: Callable[[list[str]], Any], name: str, words: list[str]) -> list[Combination]:
        """Every combination of the values, its options read and checked.

        Args:
            parsed: Reads words as the options `task` and `command`.
            name: The task.
            words: The options of all runs.

        Raises:
            UserError: Nothing is varied, an option is varied twice, or a value is refused.
        """
        if not self.vary:
            raise UserError(f"sweep needs the options to vary, for example: {self.example}")
        names = [option.name for option in self.vary]
        _refuse_clash(names, given(words))
        found = []
        for values in itertools.product(*(option.values for option in self.vary)):
            added = [word for option, value in zip(self.vary, values, strict=True) for word in option.words(value)]
            read = parsed([*words, *added])
            found.append(Combination(read.command, name, read.task, dict(zip(names, values, strict=True))))
        return found

    def __call__(self, command: str, combinations: list[Combination], console: Console) -> int:
        """Run the sweep; returns the exit code.

        Args:
            command: The command that is swept.
            combinations: From `combinations`.
            console: For a line on each run, and the table.
        """
        name = combinations[0].name
        with self.output(COMMAND, name) as output:
            workers = self.checked_workers()
            folder = output.begin()
            save_configuration(folder, self._configuration(command, combinations[0]))
            jobs = [_job(combination, seed, console) for seed in self.seeds for combination in combinations]
            batch = Batch(folder, console, in_worker)
            code = batch.run(jobs, self, workers)
            output.finish()
        batch.say(output.out)
        return code

    def _configuration(self, command: str, first: Combination) -> Record:
        """The options that must be the same to continue a sweep."""
        varied = {option.name: list(option.values) for option in self.vary or ()}
        of_run = {name: value for name, value in asdict(first.command).items() if name not in _OF_ONE_RUN}
        return {"task": first.name, "command": command, "vary": varied, "options": of_task(first.options), **of_run}


def _refuse_clash(names: list[str], everywhere: set[str]) -> None:
    """Refuse options that a sweep decides itself, and those that have their values from two places.

    Args:
        names: The varied options.
        everywhere: The names of the fields that all runs are given.
    """
    own = next((option for option in _OWN if option in everywhere or option in names), None)
    if own is not None:
        mend = "give --seeds" if own == "seed" else "a run of a sweep has one process; leave it out"
        raise UserError(f"--{own} is no option of a sweep: {mend}")
    twice = next((name for name in names if names.count(name) > 1 or name.replace("-", "_") in everywhere), None)
    if twice is not None:
        raise UserError(f"--{twice} is given twice: give all its values in one place, --vary {twice}=...")


def _job(combination: Combination, seed: int, console: Console) -> Job:
    """The run of one combination and seed."""

    def here(folder: Folder) -> Any:
        console.out(f"{combination.label}, seed {seed}: begins")
        return one_run(combination, seed, folder.path, console)

    about = combination.about(seed)
    return Job(about, f"runs/{run_name(about)}", here, (combination, seed))

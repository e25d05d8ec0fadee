"""`kuttax sweep COMMAND TASK`: train or fit with every combination of values of some options."""

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from rich.console import Console

from ..errors import UserError
from ..io.folder import Folder
from ..io.records import Record
from ..options.unused import Unused, flag
from ..report import run_name
from .batch.batch import Batch, Job
from .batch.options import BatchOptions, absolute
from .batch.swept_run import Combination, in_worker, one_run
from .options.parser import given
from .options.varied import Varied
from .saved.configuration import of_task, save_configuration

COMMAND = "sweep"
"""The command that the files belong to."""
_OF_ONE_RUN = ("seed", "out", "overwrite", "resume", "checkpoint_seconds")
_OWN = (*_OF_ONE_RUN, "distributed")  # options of these commands that a sweep decides itself


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

    def combinations(
        self, parsed: Callable[[list[str]], Any], flags: Mapping[str, bool], name: str, words: list[str]
    ) -> list[Combination]:
        """Every combination of the values, its options read and checked.

        Args:
            parsed: Reads words as the options `task` and `command`.
            flags: The options without a value, and their defaults.
            name: The task.
            words: The options of all runs.

        Raises:
            UserError: Nothing is varied, an option has its value from two places, a value is refused, or two
                combinations are the same.
        """
        if not self.vary:
            raise UserError(f"sweep needs the options to vary, for example: {self.example}")
        names, found = [option.name for option in self.vary], []
        for values in itertools.product(*(option.values for option in self.vary)):
            parts = [
                option.words(value, flags.get(option.name)) for option, value in zip(self.vary, values, strict=True)
            ]
            _refuse_clash([*zip(names, parts, strict=True)], given(words))
            read = parsed([*words, *itertools.chain(*parts)])
            varied = dict(zip(names, values, strict=True))
            found.append(Combination(read.command, name, absolute(read.task), varied))
        for one, other in itertools.combinations(found, 2):
            if (one.command, one.options) == (other.command, other.options):
                raise UserError(f"--vary: {one.label} and {other.label} are the same run: leave out one of them")
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
            output.refuse_contradiction()
            workers = self.checked_workers()
            output.refuse_used()
            combinations[0].options.build()  # which refuses a file that is not there before anything is written
            folder = output.begin()
            save_configuration(folder, self._configuration(command, combinations))
            jobs = [_job(combination, seed, console) for seed in self.seeds for combination in combinations]
            batch = Batch(folder, console, in_worker)
            code = batch.run(jobs, self, workers)
            output.finish()
        batch.say(output.out)
        return code

    def _configuration(self, command: str, combinations: list[Combination]) -> Record:
        """The options that must be the same to continue a sweep."""
        first = combinations[0]
        of_run = {name: value for name, value in asdict(first.command).items() if name not in _OF_ONE_RUN}
        tasks = list(dict.fromkeys(json.dumps(of_task(one.options)) for one in combinations))
        return {
            "task": first.name,
            "command": command,
            "vary": [f"{option.name}={','.join(option.values)}" for option in self.vary or ()],
            "options": json.loads(tasks[0]),
            "other options": tasks[1:],
            **of_run,
        }


def _refuse_clash(parts: list[tuple[str, list[str]]], everywhere: set[str]) -> None:
    """Refuse options that a sweep decides itself, and those that have their values from two places.

    Args:
        parts: The varied options, each with its words, in which there may be other options.
        everywhere: The names of the fields that all runs are given.
    """
    varied = [name.replace("-", "_") for name, _ in parts]
    beside = [option for (_, words), name in zip(parts, varied, strict=True) for option in given(words) - {name}]
    said = [*varied, *(option for option in beside if not option.startswith("no_"))]
    own = next((option for option in _OWN if option in said or option in everywhere & {"seed", "distributed"}), None)
    if own is not None:
        mend = "give --seeds" if own == "seed" else "leave it out"
        raise UserError(f"{flag(own)} is no option that a sweep can vary: {mend}")
    twice = next((option for option in said if said.count(option) > 1 or option in everywhere), None)
    if twice is not None:
        raise UserError(f"{flag(twice)} has its value from two places: give all its values in one --vary {twice}=...")


def _job(combination: Combination, seed: int, console: Console) -> Job:
    """The run of one combination and seed."""

    def here(folder: Folder) -> Any:
        console.out(f"{combination.label}, seed {seed}: begins")
        return one_run(combination, seed, folder.path, console)

    about = combination.about(seed)
    return Job(about, f"runs/{run_name(about)}", here, (combination, seed))

"""`kuttax compare TASK`: the same model under solvers of different cost, or under different penalties."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any, ClassVar

from rich.console import Console

from ..errors import UserError
from ..io.folder import Folder
from ..options.unused import Unused
from ..report import run_name
from ..tasks.options import TaskOptions
from ..training.loop import Trainer
from .batch.batch import Batch, Job
from .batch.compared_run import COMMAND, Comparison, clear_checkpoints, in_worker, one_run
from .batch.options import BatchOptions, absolute
from .options.compared import ComparedOptions
from .options.method import ComparedMethod
from .options.other_kind import refuse_other_kind
from .options.solver import LEARNED
from .own_data import settings_for
from .saved.configuration import of_task, save_configuration
from .train import CheckpointSeconds


@dataclass(frozen=True, kw_only=True)
class Compare(BatchOptions, ComparedOptions):
    """Train one model with several solvers, each from the same initial weights: DOPRI5 at 1e-5, RK4, the midpoint rule,
    and learned solvers of a fixed number of function evaluations (NFE). Report the cost and the quality of each. With
    --penalties, compare penalties under one solver instead; the first row has none."""

    example: ClassVar[str] = "--nfe 4 8"

    checkpoint_seconds: CheckpointSeconds = 30.0
    """Wait at least this many seconds between two checkpoints of a run."""

    def unused(self, options: TaskOptions) -> dict[str, Unused]:
        """The options that have no effect beside the others and the task's."""
        return {**super().unused(options), **self.unused_of_workers()}

    def __call__(self, name: str, options: TaskOptions, console: Console) -> int:
        """Run the command on the named task; returns the exit code."""
        options = absolute(options)
        with self.output(COMMAND, name) as output:
            output.refuse_contradiction()
            workers = self.checked_workers()  # before the data are loaded
            methods = self.rows(options, console.out)
            refuse_other_kind(name, options, methods[0].solver)
            output.refuse_used()
            task = options.build()
            shared = self._shared(name, options, replace(self, training=settings_for(task, self.training, console)))
            trainers = [shared.trainer(task, method) for method in methods]
            pairs = list(self._possible(methods, trainers, console))
            folder = output.begin()
            self._same_configuration(folder, name, options)
            jobs = [self._job(shared, *pair, seed, console) for seed in self.seeds for pair in pairs]
            batch = Batch(folder, console, in_worker, clear_checkpoints)
            code = batch.run(jobs, self, workers)
            output.finish()
        batch.say(output.out)
        return code

    def _job(self, shared: Comparison, method: ComparedMethod, trainer: Trainer, seed: int, console: Console) -> Job:
        """The run of one method and seed."""
        about = shared.about(method, seed)
        here = partial(one_run, shared, method, trainer, seed, console=console, resume=self.resume)
        return Job(about, f"runs/{run_name(about)}", here, (shared, method.label, seed))

    def _shared(self, name: str, options: TaskOptions, settled: "Compare") -> Comparison:
        """What the runs share, of the options with the settings as they are used."""
        values = {option.name: getattr(settled, option.name) for option in fields(ComparedOptions)}
        return Comparison(name, options, ComparedOptions(**values), self.checkpoint_seconds)

    def _possible(
        self, methods: list[ComparedMethod], trainers: list[Trainer], console: Console
    ) -> Iterator[tuple[ComparedMethod, Trainer]]:
        """The rows whose penalty the task can be trained with; a row from "all" that does not fit is left out.

        Raises:
            UserError: A named penalty does not fit the task.
        """
        for method, trainer in zip(methods, trainers, strict=True):
            try:
                if self.penalties is not None:
                    trainer.refuse_unfit()
            except UserError as error:
                if method.penalty.name in (self.penalties or ()):
                    raise
                console.out(f"left out {method.penalty.name}: {error}")
            else:
                yield method, trainer

    def _same_configuration(self, folder: Folder, name: str, options: Any) -> None:
        """Save the common options of the runs; refuse runs with other options."""
        config = {"task": name, "options": of_task(options), "training": asdict(self.training)}
        if self.penalties is not None:
            config["solver"] = asdict(self.solver)
        else:
            config["learned"] = {name: getattr(self.solver, name) for name in LEARNED}
        penalty = self.penalty.build()
        if penalty.name is not None:
            config |= penalty.about
        save_configuration(folder, config)

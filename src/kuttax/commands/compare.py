"""`kuttax compare TASK`: the same model under solvers of different cost, or under different penalties."""

import contextlib
import functools
import shlex
import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from rich.console import Console

from ..errors import UserError
from ..io import records
from ..io.folder import Folder
from ..io.records import Record
from ..options.bounds import at_least
from ..options.unused import Unused, unless
from ..report import RECORDS, comparison, run_name
from ..tasks.options import TaskOptions
from ..training.loop import Trainer
from . import many
from .configuration import of_task, save_configuration
from .one_run import COMMAND, Comparison, clear_checkpoints, in_worker, one_run
from .options.compared import ComparedOptions
from .options.method import ComparedMethod
from .options.other_kind import refuse_other_kind
from .options.seeds import Seeds
from .options.shard import Shard
from .options.solver import LEARNED
from .output import Output
from .own_data import settings_for
from .report import draw
from .train import CheckpointSeconds

Run = tuple[ComparedMethod, Trainer, int]
"""A method, its trainer, and a seed."""


@dataclass(frozen=True, kw_only=True)
class Compare(ComparedOptions):
    """Train one model with several solvers, each from the same initial weights: DOPRI5 at 1e-5, RK4, the midpoint rule,
    and learned solvers of a fixed number of function evaluations (NFE). Report the cost and the quality of each. With
    --penalties, compare penalties under one solver instead; the first row has none."""

    example: ClassVar[str] = "--nfe 4 8"

    seeds: Seeds = field(default_factory=lambda: Seeds.first(3))
    """Repeat with this many sets of initial weights, from seed 0 on; or with these seeds, if there is a comma:
    3,5,8."""
    shard: Shard | None = None
    """Run only a part of the comparison, for job arrays: 2/20 is every 20th run, beginning with the second. Each shard
    needs its own --out; kuttax report merges them."""
    out: Path | None = None
    """Write records, table, plots and page to this folder (default: runs/compare-TASK; of a shard
    runs/compare-TASK-K-of-N)."""
    overwrite: bool = False
    """Replace the results of an earlier comparison in --out."""
    resume: bool = False
    """Continue the interrupted comparison in --out: keep the runs that are recorded, and continue the unfinished one
    from its last checkpoint."""
    checkpoint_seconds: CheckpointSeconds = 30.0
    """Wait at least this many seconds between two checkpoints of a run."""
    workers: Annotated[int, at_least(1, most=10_000)] | None = None
    """Run in this many processes of this machine at once, by dask (default: one run after the other)."""
    scheduler: str | None = None
    """Run on the workers of the dask scheduler at this address; they must see --out."""

    def unused(self, options: TaskOptions) -> dict[str, Unused]:
        """The options that have no effect beside the others and the task's."""
        known = "with --scheduler, which has workers of its own"
        return {**super().unused(options), **unless(self.scheduler is None, ["workers"], known)}

    def __call__(self, name: str, options: TaskOptions, console: Console) -> int:
        """Run the command on the named task; returns the exit code."""
        out = self._out(name)
        with Output(out, COMMAND, overwrite=self.overwrite, resume=self.resume) as output:
            output.refuse_contradiction()
            if (workers := self._workers()) is not None:
                workers.check()  # before the data are loaded
            methods = self.rows(options, console.out)
            refuse_other_kind(name, options, methods[0].solver)
            output.refuse_used()
            task = options.build()
            shared = self._shared(name, options, replace(self, training=settings_for(task, self.training, console)))
            trainers = [shared.trainer(task, method) for method in methods]
            pairs = list(self._possible(methods, trainers, console))
            runs = self._part([(*pair, seed) for seed in self.seeds for pair in pairs])
            folder = output.begin()
            self._same_configuration(folder, name, options)
            failed = self._all(shared, runs, folder, console)
            if runs:
                draw(folder, console)
            output.finish()
        if not runs:
            console.out(f"shard {self.shard} has no runs: there are only {len(pairs) * len(self.seeds)}")
            return 0
        if (headline := out / "headline.png").exists():
            console.out(f"In one picture: {headline}")
        console.out(f"Table, plots and page: {out / 'index.html'}")
        return 1 if failed else 0

    def _out(self, name: str) -> Path:
        """The folder of the comparison, or of its shard."""
        if self.out is not None:
            return self.out
        return Path(f"runs/compare-{name}" + ("" if self.shard is None else "-{}-of-{}".format(*self.shard)))

    def _part(self, runs: list[Run]) -> list[Run]:
        """The runs of the shard, of all runs in their order."""
        return runs if self.shard is None else self.shard.of(runs)

    def _shared(self, name: str, options: TaskOptions, settled: "Compare") -> Comparison:
        """What the runs share, of the options with the settings as they are used."""
        values = {option.name: getattr(settled, option.name) for option in fields(ComparedOptions)}
        return Comparison(name, options, ComparedOptions(**values), self.checkpoint_seconds)

    def _all(self, shared: Comparison, runs: list[Run], folder: Folder, console: Console) -> int:
        """Run what is not recorded yet; returns how many runs failed."""
        path = folder.path / RECORDS
        check = functools.partial(folder.check, RECORDS, "start again with --overwrite", grown=True)
        recorded = records.read(path, comparison.shape, check) if path.exists() else []
        done = {(record["label"], record["seed"]) for record in recorded if record["kind"] == "run"}
        part = {} if self.shard is None else {"shard": str(self.shard)}
        self._append(folder, {"kind": "command", "command": shlex.join(["kuttax", *sys.argv[1:]]), **part})
        for method, _, seed in runs:
            if (method.label, seed) in done:
                console.out(f"{method.label}, seed {seed}: recorded")
        left = [(method, trainer, seed) for method, trainer, seed in runs if (method.label, seed) not in done]
        workers, failed = self._workers(), 0
        if workers is None:
            found = self._one_by_one(shared, left, folder, console)
        else:
            found = _elsewhere(workers, shared, left, folder)
        with contextlib.closing(found):  # which ends its processes
            for own, record in found:
                console.out(_in_short(record))
                self._append(folder, record)
                clear_checkpoints(own)
                failed += record["kind"] == "failure"
        return failed

    def _one_by_one(
        self, shared: Comparison, runs: Sequence[Run], folder: Folder, console: Console
    ) -> Generator[tuple[Folder, Record]]:
        """Runs in this process: the folder and the record of each."""
        for method, trainer, seed in runs:
            own = _own(folder, shared.about(method, seed))
            yield own, one_run(shared, method, trainer, seed, own, console, resume=self.resume)

    def _workers(self) -> many.Workers | None:
        """The processes for the runs; None for this one."""
        here = self.workers is None and self.scheduler is None
        return None if here else many.Workers(self.workers, self.scheduler)

    def _append(self, folder: Folder, record: dict[str, Any]) -> None:
        """Add a record, and save the digest of the records file."""
        if not folder.lists(RECORDS):
            folder.claim(RECORDS)
        records.append(folder.path / RECORDS, record)
        folder.seal(RECORDS)

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


def _own(folder: Folder, about: Record) -> Folder:
    """The folder of one run in that of the comparison."""
    return folder.part(f"runs/{run_name(about)}")


def _elsewhere(
    workers: many.Workers, shared: Comparison, runs: Sequence[Run], folder: Folder
) -> Generator[tuple[Folder, Record]]:
    """Runs in other processes: the folder and the record of each, in the order in which they end.

    Only this process writes the files that the runs share.
    """
    about = [shared.about(method, seed) for method, _, seed in runs]
    folders = [_own(folder, one) for one in about]
    calls = [(shared, one["label"], one["seed"], own.path.absolute()) for one, own in zip(about, folders, strict=True)]
    for number, found in many.results(workers, in_worker, calls):
        lost = {"kind": "failure", **about[number], "error": many.LOST}
        yield folders[number], lost if found is None else found


def _in_short(record: Record) -> str:
    """The line on a finished run."""
    run = f"{record['label']}, seed {record['seed']}"
    if record["kind"] == "failure":
        return f"{run}: failed: {record['error']}"
    unit = record["metric"]["unit"]
    shown = {part: f"{record[part]:{'.2f' if unit == '%' else '.4g'}} {unit}" for part in ("validation", "test")}
    results = f"validation {shown['validation']}, test {shown['test']}, NFE {record['nfe']:.4g}"
    return f"{run}: {results}, {record['train_seconds']:.1f} s"

"""`kuttax compare TASK`: the same model under solvers of different cost, or under different penalties."""

import functools
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from rich.console import Console

from ..errors import UserError
from ..io import records
from ..io.checkpoints import Checkpoints
from ..io.folder import Folder
from ..options.bounds import check_bounds
from ..options.unused import Unused, unless
from ..report import RECORDS, comparison, run_name
from ..solvers.base.solution import SolveError
from ..solvers.leaves import learns
from ..tasks.options import TaskOptions
from ..training.loop import Trainer, TrainingError
from ..training.settings import Settings
from .configuration import of_task, save_configuration
from .fit import Budget
from .options.method import SOLVERS, ComparedMethod, penalties, solvers, solvers_of_sdes
from .options.other_kind import refuse_other_kind
from .options.penalty import PenaltyOptions
from .options.seeds import Seeds
from .options.shard import Shard
from .options.solver import LEARNED, ClassicalOptions, SolverOptions
from .options.task_unused import unused_in_task
from .output import CHECKPOINTS, Output, listed
from .own_data import settings_for
from .report import draw
from .run import run, task_options
from .train import CheckpointSeconds

Run = tuple[ComparedMethod, Trainer, int]
"""A method, its trainer, and a seed."""


@dataclass(frozen=True, kw_only=True)
class OneSolver(SolverOptions):
    """The solver of --penalties, and what the learned solvers of the comparison may learn."""

    solver: str = "tsit5"
    """Compare --penalties under this solver: learned, or a classical one, as for kuttax train."""


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Train one model with several solvers, each from the same initial weights: DOPRI5 at 1e-5, RK4, the midpoint rule,
    and learned solvers of a fixed number of function evaluations (NFE). Report the cost and the quality of each. With
    --penalties, compare penalties under one solver instead; the first row has none."""

    nfe: tuple[Budget, ...] | None = None
    """Compare fixed-step solvers of these budgets: evaluations of the field in one solve (default: 4 8)."""
    seeds: Seeds = field(default_factory=lambda: Seeds.first(3))
    """Repeat with this many sets of initial weights, from seed 0 on; or with these seeds, if there is a comma:
    3,5,8."""
    methods: tuple[str, ...] | None = None
    """Compare only these solvers. ODE: dopri5, rk4, midpoint, learned (default: all). SDE: spark, euler-maruyama,
    milstein, stochastic-heun, srk, learned-srk (default: all for its --calculus)."""
    penalties: tuple[str, ...] | None = None
    """Compare these penalties instead of solvers, each at its own weight: names as for --penalty, or all."""
    penalty: PenaltyOptions = field(default_factory=PenaltyOptions)
    solver: OneSolver = field(default_factory=OneSolver)
    training: Settings = field(default_factory=Settings)
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

    def __post_init__(self):
        check_bounds(self)

    def unused(self, options: TaskOptions) -> dict[str, Unused]:
        """The options that have no effect beside the others and the task's."""
        rows = self._rows(options, lambda text: None)
        penalised = self.penalties is not None or self.penalty.build().name is not None
        return {
            **(self._unused_of_solvers(options, rows) if self.penalties is None else self._unused_of_penalties()),
            **self.training.unused(learns=any(learns(row.solver) for row in rows)),
            **unused_in_task(options, [row.solver for row in rows], penalised=penalised),
        }

    def _unused_of_penalties(self) -> dict[str, Unused]:
        """Those of a comparison of solvers in one of penalties."""
        one, several = "with --penalties, which compares with one --solver", "with --penalties, each of its own weight"
        return {
            **self.solver.unused(),
            **unless(False, ["methods", "nfe"], one, "leave out --penalties"),
            **unless(False, [option.name for option in fields(PenaltyOptions)], several, "leave out --penalties"),
        }

    def _unused_of_solvers(self, options: TaskOptions, rows: list[ComparedMethod]) -> dict[str, Unused]:
        """Those of the one solver of --penalties in a comparison of solvers, and of solvers that are not compared."""
        learned = {row.name: LEARNED if row.name == "learned" else ("shared",) for row in rows if learns(row.solver)}
        used = {name for names in learned.values() for name in names}
        others = [name for name in LEARNED if name not in used]
        several = any(learns(row.solver) and row.solver.number_of_steps() > 1 for row in rows)
        tolerance = options.calculus is not None and any(row.budget is None for row in rows)
        one = [option.name for option in fields(ClassicalOptions) if option.name not in ("rtol", "atol")]
        which = "without --penalties: --methods and --nfe say which solvers are compared", "give --penalties"
        return {
            **self.penalty.unused(),
            **unless(False, one, *which),
            **unless(tolerance, ["rtol", "atol"], *which),
            **unless(not learned or several, ["shared", "equal_steps"], "in solvers of one step", "raise --nfe"),
            **unless(False, others, "where no learned solver that has it is compared", "add to --methods"),
            **unless(any(row.budget for row in rows), ["nfe"], "with adaptive solvers alone", "add to --methods"),
        }

    def __call__(self, name: str, options: TaskOptions, console: Console) -> int:
        """Run the command on the named task; returns the exit code."""
        out = self._out(name)
        with Output(out, "compare", overwrite=self.overwrite, resume=self.resume) as output:
            output.refuse_contradiction()
            methods = self._rows(options, console.out)
            refuse_other_kind(name, options, methods[0].solver)
            output.refuse_used()
            task, steps = options.build(), self.training.train_steps
            training = settings_for(task, self.training, console)
            trainers = [Trainer(task, m.solver, training, m.penalty.scheduled(steps)) for m in methods]
            pairs = list(self._possible(methods, trainers, console))
            runs = self._part([(*pair, seed) for seed in self.seeds for pair in pairs])
            folder = output.begin()
            self._same_configuration(folder, name, options)
            failed = self._all(runs, name, options, folder, console)
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

    def _all(self, runs: list[Run], name: str, options: Any, folder: Folder, console: Console) -> int:
        """Run what is not recorded yet; returns how many runs failed."""
        path = folder.path / RECORDS
        check = functools.partial(folder.check, RECORDS, "start again with --overwrite", grown=True)
        recorded = records.read(path, comparison.shape, check) if path.exists() else []
        done = {(record["label"], record["seed"]) for record in recorded if record["kind"] == "run"}
        keep = functools.partial(self._append, folder)
        part = {} if self.shard is None else {"shard": str(self.shard)}
        keep({"kind": "command", "command": shlex.join(["kuttax", *sys.argv[1:]]), **part})
        failed = 0
        for method, trainer, seed in runs:
            if (method.label, seed) in done:
                console.out(f"{method.label}, seed {seed}: recorded")
                continue
            record, checkpoints = self._run(trainer, seed, method, name, options, folder, console)
            keep(record)
            checkpoints.clear()
            failed += record["kind"] == "failure"
        return failed

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

    def _rows(self, options: TaskOptions, say: Callable[[str], None]) -> list[ComparedMethod]:
        """The rows that the options name; `say` reports the ones left out."""
        if self.penalties is not None:
            return list(penalties(self.penalties, self.solver, say))
        budgets, penalty = (4, 8) if self.nfe is None else self.nfe, self.penalty.build()
        if options.calculus is not None:
            rows = list(solvers_of_sdes(options.calculus, self.methods, budgets, self.solver, penalty, say))
        else:
            names = SOLVERS if self.methods is None else self.methods
            rows = list(solvers(names, budgets, self.solver, penalty, say))
        if not rows:
            raise UserError("no method is left to run: give --methods, or budgets --nfe that they can meet")
        return rows

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

    def _run(
        self,
        trainer: Trainer,
        seed: int,
        method: ComparedMethod,
        name: str,
        options: Any,
        folder: Folder,
        console: Console,
    ) -> tuple[dict[str, Any], Checkpoints]:
        """The record of one run, and its checkpoints, which the caller removes once the record is saved."""
        about = {"task": name, "method": method.name, "label": method.label, "budget": method.budget}
        about |= method.penalty.about
        own = folder.part(f"runs/{run_name({**about, 'seed': seed})}")
        own.claim(*listed())
        checkpoints = Checkpoints(own.path / CHECKPOINTS, every=self.checkpoint_seconds)
        try:
            record = run(trainer, seed, about, task_options(options), own, console, checkpoints, resume=self.resume)
        except (SolveError, TrainingError) as error:
            console.out(f"{method.label}, seed {seed}: failed: {error}")
            return {"kind": "failure", **about, "seed": seed, "error": str(error)}, checkpoints
        metric = trainer.task.metric
        shown = {part: f"{record[part]:{'.2f' if metric.unit == '%' else '.4g'}}" for part in ("validation", "test")}
        console.out(
            f"{method.label}, seed {seed}: validation {shown['validation']} {metric.unit}, "
            f"test {shown['test']} {metric.unit}, NFE {record['nfe']:.4g}, {record['train_seconds']:.1f} s",
        )
        return record, checkpoints

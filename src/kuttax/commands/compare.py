"""`kuttax compare TASK`: the same model under solvers of different cost."""

import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from .. import records
from ..atomic import write_json
from ..errors import UserError
from ..solvers import tableaus
from ..solvers.adaptive import Adaptive
from ..solvers.base import AbstractSolver
from ..solvers.fixed import FixedSteps
from ..solvers.solution import SolveError
from ..training.loop import Trainer, TrainingError
from ..training.settings import Settings
from .output import prepare, refuse_used
from .report import draw
from .run import run, task_options
from .solver_options import LearnedOptions

_CLASSICAL = {"rk4": tableaus.RK4, "midpoint": tableaus.MIDPOINT}


class Method(NamedTuple):
    """One row of the comparison: a solver at a budget (None: adaptive)."""

    name: str
    label: str
    budget: int | None
    solver: AbstractSolver


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Train the same initial weights with DOPRI5 at 1e-5, with RK4 and the midpoint rule, and with learned solvers of a
    fixed number of function evaluations (NFE), and show side by side what each costs and is worth."""

    nfe: tuple[int, ...] = (4, 8)
    """The budgets: evaluations of the field in one solve."""
    seeds: int = 3
    """How many sets of initial weights, from seed 0."""
    methods: tuple[str, ...] = ("dopri5", "rk4", "midpoint", "learned")
    """Which of dopri5, rk4, midpoint and learned to run."""
    learned: LearnedOptions = field(default_factory=LearnedOptions)
    training: Settings = field(default_factory=Settings)
    out: Path | None = None
    """Where records, table, plots and page go (default runs/compare-TASK)."""
    overwrite: bool = False
    """Replace the results of an earlier comparison in --out."""
    resume: bool = False
    """Go on with the comparison in --out: runs that are recorded there are not repeated."""

    def __call__(self, name: str, options: Any, console: Console) -> int:
        """Run the command on the named task; returns the exit code."""
        if self.seeds < 1:
            raise UserError(f"--seeds must be >= 1, got {self.seeds}")
        methods = list(self._methods(console))
        if not methods:
            raise UserError("no method is left to run: give --methods, or budgets --nfe that they can meet")
        out = Path(f"runs/compare-{name}") if self.out is None else self.out
        refuse_used(out, overwrite=self.overwrite, resume=self.resume)
        task = options.build()
        trainers = [Trainer(task, method.solver, self.training) for method in methods]
        prepare(out, overwrite=self.overwrite, resume=self.resume)
        self._same_configuration(out, name, options)
        path = out / "records.jsonl"
        done = {(r["label"], r["seed"]) for r in records.read(path) if r["kind"] == "run"} if path.exists() else set()
        records.append(path, {"kind": "command", "command": shlex.join(["kuttax", *sys.argv[1:]])})
        failed = 0
        for seed in range(self.seeds):
            for method, trainer in zip(methods, trainers, strict=True):
                if (method.label, seed) in done:
                    console.print(f"{method.label}, seed {seed}: recorded", highlight=False)
                    continue
                record = self._run(trainer, seed, method, name, options, out, console)
                records.append(path, record)
                failed += record["kind"] == "failure"
        draw(out, console)
        return 1 if failed else 0

    def _methods(self, console: Console) -> Iterator[Method]:
        unknown = [m for m in self.methods if m not in ("dopri5", "learned", *_CLASSICAL)]
        if unknown:
            raise UserError(f"unknown method {unknown[0]!r}; known: dopri5, {', '.join(_CLASSICAL)}, learned")
        if not self.nfe or min(self.nfe) < 1:
            raise UserError(f"--nfe must be budgets >= 1, got {' '.join(map(str, self.nfe)) or 'none'}")
        if "dopri5" in self.methods:
            yield Method("dopri5", "DOPRI5 at 1e-5", None, Adaptive(tableaus.DOPRI5, 1e-5, 1e-5))
        for budget in dict.fromkeys(self.nfe):
            for name, scheme in _CLASSICAL.items():
                if name not in self.methods:
                    continue
                if budget % scheme.stages:
                    console.print(f"NFE {budget}: left out {scheme.name}, which takes {scheme.stages} a step")
                    continue
                steps = budget // scheme.stages
                yield Method(name, f"{scheme.name}, {_count(steps)}", budget, FixedSteps(scheme, steps))
            if "learned" in self.methods:
                stages = self._stages(budget)
                solver = self.learned.learned(stages, budget // stages)
                label = f"learned, {_count(budget // stages)} of {stages} stages"
                yield Method("learned", label, budget, solver)

    def _stages(self, budget: int) -> int:
        """The stages of the learned solver: as asked for, else the most of 4, 3, 2, 1 that divide the budget."""
        if self.learned.stages is None:
            return next(s for s in (4, 3, 2, 1) if budget % s == 0)
        if self.learned.stages < 1 or budget % self.learned.stages:
            raise UserError(f"--nfe {budget} is no multiple of --stages {self.learned.stages}: change one of them")
        return self.learned.stages

    def _same_configuration(self, out: Path, name: str, options: Any) -> None:
        """Keep what the runs share beside them; runs of another configuration are not mixed in."""
        # Where the data lie is not what they are.
        shared = {option: value for option, value in task_options(options).items() if option != "data_dir"}
        config = {
            "task": name,
            "options": shared,
            "training": asdict(self.training),
            "learned": asdict(self.learned),
        }
        path = out / "config.json"
        if path.exists() and json.loads(path.read_text()) != config:
            raise UserError(f"{path} is of other options: repeat them to resume, or give another --out")
        write_json(path, config)

    def _run(
        self, trainer: Trainer, seed: int, method: Method, name: str, options: Any, out: Path, console: Console
    ) -> dict[str, Any]:
        about = {"task": name, "method": method.name, "label": method.label, "budget": method.budget}
        budget = "adaptive" if method.budget is None else f"nfe{method.budget}"
        directory = out / "runs" / f"{method.name}-{budget}-seed{seed}"
        try:
            record = run(trainer, seed, about, task_options(options), directory, console)
        except (SolveError, TrainingError) as error:
            console.print(f"{method.label}, seed {seed}: failed: {error}", highlight=False)
            return {"kind": "failure", **about, "seed": seed, "error": str(error)}
        unit = trainer.task.metric.unit
        console.print(
            f"{method.label}, seed {seed}: validation {record['validation']:.2f} {unit}, "
            f"test {record['test']:.2f} {unit}, NFE {record['nfe']:.4g}, {record['train_seconds']:.1f} s",
            highlight=False,
            soft_wrap=True,
        )
        return record


def _count(steps: int) -> str:
    return "1 step" if steps == 1 else f"{steps} steps"

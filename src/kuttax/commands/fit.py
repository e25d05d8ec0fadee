"""`kuttax fit TASK`: a model and a solver with the given NFE, and a certificate."""

from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro
from rich.console import Console

from .._fit.budget import solver_of
from .._fit.fit import fit
from .._fit.options import FitOptions, When
from .._fit.result import Fitted
from ..distillation.progress import Progress as DistillationProgress
from ..io import checkpoints
from ..io.folder import Folder
from ..io.records import Record, as_json
from ..options.bounds import Seed, WholeNumber, at_least, between, check_bounds
from ..options.unused import Unused, unless
from ..report import forecast
from ..solvers.base.solver import AbstractSolver, title
from ..solvers.leaves import learns
from ..tasks.options import TaskOptions
from ..training.checkpoint import options_as_json, save_run
from ..training.evaluate import evaluate
from ..training.log import Log
from ..training.loop import Progress, Trainer
from ..training.settings import Settings
from .distillation_log import DistillationLog
from .options.task_unused import unused_in_task
from .own_data import settings_for
from .run import describe_metric, describe_nfe, describe_verdict, environment, results
from .saved.configuration import of_task
from .saved.kept import read_record, save_certificate, save_for_torch, save_record
from .saved.output import CHECKPOINTS, Output
from .saved.run_folder import begin, finished

Budget = Annotated[int, at_least(1, most=100_000)]
"""Of evaluations in one solve."""


class Logs:
    """The logs of a fit's stages and distillations, one after the other; use it as a context.

    Args:
        console: Where the bars go.
        folder: Where `metrics-STAGE.jsonl` go.
    """

    def __init__(self, console: Console, folder: Folder):
        self.console, self.folder = console, folder
        self._stage, self._open = None, ExitStack()
        self._log: Any = None  # of the stage

    def __enter__(self) -> "Logs":
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def __call__(self, stage: str, steps: int, now: Progress) -> None:
        """Show and record one dispatch of a stage."""
        if stage != self._stage:
            self._open.close()
            name = f"metrics-{stage}.jsonl"
            self._open.enter_context(self.folder.writing(name))
            log = Log(self.console, stage, steps, self.folder.path / name, now.step - 1)
            self._stage, self._log = stage, self._open.enter_context(log)
        self._log(now)

    def distilling(self, now: DistillationProgress) -> None:
        """Show where a distillation is."""
        if self._stage != "distillation":
            self._open.close()
            self._stage, self._log = "distillation", self._open.enter_context(DistillationLog(self.console))
        self._log(now)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Train a model and a solver of --nfe evaluations, and certify that the results do not depend on the solver. If the
    certificate is not valid, search for the smallest number of evaluations whose certificate is. The exit code is 0 for
    a valid certificate, 1 for any other."""

    example: ClassVar[str] = "--nfe 4"

    nfe: Budget = 8
    """The budget: evaluations of the field in one solve."""
    stages: WholeNumber | None = None
    """Evaluations in one step (default: the largest of 4, 3, 2 that divides --nfe, else its smallest prime factor up
    to 13, else 1)."""
    allow_more: bool = False
    """If the certificate is not valid at --nfe, keep the solver with the fewest evaluations whose certificate is."""
    least: bool = False
    """If the certificate is valid at --nfe, train on with fewer evaluations, and keep the fewest whose certificate is
    valid at no loss."""
    warm_up: Annotated[float, between(0, 1, "[)")] = 0.2
    """Train with an adaptive solver for this share of the optimiser steps first; 0 for none."""
    consistency: Annotated[float, at_least(0)] = 1.0
    """Multiply the task's weight of the penalty on the solver's own errors by this factor; 0 for no penalty."""
    learned: When = "auto"
    """Train the solver together with the model (always), or train the model with a classical solver of as many stages
    (never). auto: always for an ODE, never for an SDE."""
    distill: Annotated[bool, tyro.conf.arg(help="Skip fitting a solver to the finished field.")] = True
    """Whether to fit a solver to the finished field, starting from the solver of training."""
    training: Settings = field(default_factory=Settings)
    seed: Seed = 0
    """Draw the initial weights and the order of the data from this seed."""
    out: Path | None = None
    """Write the run to this folder (default: runs/fit-TASK)."""
    overwrite: bool = False
    """Replace the results of an earlier run in --out."""
    resume: bool = False
    """Continue the interrupted run in --out from its last checkpoint; all other options must be the same."""

    def __post_init__(self):
        check_bounds(self)

    def unused(self, options: TaskOptions) -> dict[str, Unused]:
        """The options that have no effect beside the others and the task's."""
        ode, warm_up = options.calculus is None, self._components.warm_up_steps(self.training)
        start, able = (self._start(options, learned=x) for x in (self._components.learns(options.calculus), True))
        of_sde, unpenalised = "for an SDE", "for a task that is trained without a penalty"
        return {
            **self.training.unused(learns=learns(start)),
            **unless(learns(able), ["learned"], "with a solver that has nothing to learn", "raise --nfe"),
            **unless(
                start.number_of_steps() > 1, ["least"], "with a solver of one step", "raise --nfe, or lower --stages"
            ),
            **unless(bool(warm_up) or not self.warm_up, ["warm_up"], "with so few training steps", "train for longer"),
            **unless(ode, ["warm_up", "distill"], of_sde),
            **unless(options.consistent, ["warm_up", "consistency"], unpenalised),
            **unused_in_task(options, [start], penalised=bool(warm_up or self.consistency)),
        }

    @property
    def _components(self) -> FitOptions:
        return FitOptions(**{part.name: getattr(self, part.name) for part in fields(FitOptions)})

    def _start(self, options: TaskOptions, *, learned: bool) -> AbstractSolver:
        """The solver with this budget."""
        return solver_of(self.nfe, self.stages, learned=learned, calculus=options.calculus)

    def __call__(self, name: str, options: TaskOptions, console: Console) -> int:
        """Run the command on the named task; returns the exit code."""
        found, fitted = self._made(name, options, console)
        if fitted is not None:
            self._say(self._folder(name), fitted, options, found, console)
        return 0 if found["certificate"]["verdict"] == "valid" else 1

    def record(self, name: str, options: TaskOptions, console: Console) -> Record:
        """Make and save the run; returns its record."""
        return self._made(name, options, console)[0]

    def _folder(self, name: str) -> Path:
        """The folder of the run."""
        return Path(f"runs/fit-{name}") if self.out is None else self.out

    def _made(self, name: str, options: TaskOptions, console: Console) -> tuple[Record, Fitted | None]:
        """The record of the run, and what was fitted: None if the run was finished before."""
        start = self._start(options, learned=self._components.learns(options.calculus))
        with Output(self._folder(name), "fit", overwrite=self.overwrite, resume=self.resume) as output:
            config = self._configuration(name, options)
            if finished(output, config, console):
                return read_record(output.folder), None
            task = options.build()
            own = replace(self, training=settings_for(task, self.training, console))
            Trainer(task, start, own.training)  # refuses what cannot be trained before anything is written
            folder = begin(output, config, console)
            fitted = own._fitted(task, folder, console)
            record = own._keep(folder, task, name, options, fitted)
            output.finish()
        return record, fitted

    def _fitted(self, task: Any, folder: Folder, console: Console) -> Fitted:
        """The model and the solver, with the metrics and the checkpoints of each phase in the folder."""
        with Logs(console, folder) as logs:
            return fit(
                task,
                nfe=self.nfe,
                stages=self.stages,
                options=self._components,
                settings=self.training,
                allow_more=self.allow_more,
                least=self.least,
                seed=self.seed,
                report=logs,
                report_distillation=logs.distilling,
                saved=folder.path / CHECKPOINTS,
                resume=self.resume,
            )

    def _keep(self, folder: Folder, task: Any, name: str, options: Any, fitted: Fitted) -> dict[str, Any]:
        """Save model, solver, record and certificate, and remove the checkpoints. Returns the record."""
        about = {"task": name, "method": "fit", "label": title(fitted.solver), "budget": self.nfe, "seed": self.seed}
        size = self.training.batch_size
        record = as_json(
            {
                "kind": "fit",
                **about,
                "steps_trained": self.training.train_steps,
                "validation": evaluate(task, fitted.model, fitted.solver, task.validation, size).metric,
                "train_seconds": sum(phase.seconds for phase in fitted.history),
                **results(task, fitted.model, fitted.solver, size, about, folder, fitted.certificate),
                "stages": [stage._asdict() | {"validation": stage.validation._asdict()} for stage in fitted.history],
                "least_nfe": fitted.least_nfe,
                **environment(),
            }
        )
        saved = {"name": name, "options": options_as_json(options)}
        settings = asdict(self.training)
        save_run(folder, fitted.model, fitted.solver, {"task": saved, "settings": settings, "record": record})
        save_certificate(folder, fitted.certificate, name, "validation")
        if fitted.solver.learned and not fitted.solver.solves_sdes:
            save_for_torch(folder, fitted.solver)
        save_record(folder, record)  # last: a run with a record is finished
        checkpoints.clear(folder.path / CHECKPOINTS)
        return record

    def _say(self, out: Path, fitted: Fitted, options: Any, record: Record, console: Console) -> None:
        """The result in a few lines."""
        say = console.out
        metric, unit = record["metric"]["name"], record["metric"]["unit"]
        value = lambda part: describe_metric(record[part], unit)
        again = "impossible"
        if record["nfe_reference"] is not None:
            again = f"{value('test_reference')}, NFE {record['nfe_reference']:.4g}"
        say(str(fitted))
        say(f"test {metric} {value('test')}, NFE {describe_nfe(record)}; by {record['reference']} {again}")
        for line in forecast.describe(record["forecast"]) if "forecast" in record else ():
            say(line)
        say(describe_verdict(record["certificate"]))
        if fitted.verdict != "valid":
            for reason in fitted.certificate.reasons:
                say(f"  {reason}")
            say(f"No certificate at NFE {self.nfe}: {self._advice(fitted, options)}")
        pictures = ", ".join(sorted(path.name for path in out.glob("*.png")))
        say(f"Saved in {out}: model, solver, {pictures}. Look again: kuttax evaluate {out}; kuttax certify {out}")

    def _advice(self, fitted: Fitted, options: Any) -> str:
        """What to do about a certificate that is not valid."""
        if fitted.certificate.lacks_samples:
            held_out = "held_out" in {option.name for option in fields(options)}
            how = ": give more data, or hold out more of them (--held-out)" if held_out else ""
            return f"more held-out samples may decide it, more evaluations will not{how}"
        if fitted.least_nfe is None:
            return "none was found up to eight times as many either: train with more evaluations, or more --consistency"
        return f"this field needs {fitted.least_nfe}: --allow-more keeps that solver"

    def _configuration(self, name: str, options: Any) -> dict[str, Any]:
        """The options that must be the same to continue a run."""
        own = {
            key: getattr(self, key)
            for key in ("nfe", "stages", "allow_more", "least", "seed", *(f.name for f in fields(FitOptions)))
        }
        return {"task": name, "options": of_task(options), "training": asdict(self.training), **own}

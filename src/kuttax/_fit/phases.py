"""The phases of a fit, each from explicit inputs to explicit outputs."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ..distillation import distill
from ..distillation.progress import Progress as DistillationProgress
from ..errors import UserError
from ..io.checkpoints import Checkpoints
from ..penalties import Consistency, LocalError
from ..penalties.base import AbstractPenalty, Penalties
from ..solvers.base.solution import SolveError
from ..solvers.base.solver import AbstractSolver, title
from ..solvers.rk.adaptive.adaptive import Adaptive
from ..solvers.rk.tableaus import DOPRI5
from ..tasks.abilities import HasConsistency, HasIntervals, HasTrajectories, HasWarmUpPenalty, calculus_of, takes
from ..tasks.base import Task
from ..tasks.starts import some_trajectories
from ..training.certify import MOST_SAMPLES, certify_run
from ..training.evaluate import Evaluation, evaluate
from ..training.loop import Progress, Trained, Trainer
from ..training.part import Ended, Part
from ..training.settings import Settings
from ..validity import Certificate
from .budget import learning
from .options import FitOptions
from .result import Phase
from .search import first_found, ladder

_STARTS = 512  # initial states for a distillation, at most
_FEWEST_STARTS = 32
_NUMBERS = 2**17  # in all of them, which is plenty for the few parameters of a solver
_WORK = 2**23  # these numbers times the steps of the fit: on images it would take longer than the training
_WARM_TOLERANCE = 1e-3
_DISTILL_STEPS = 500  # at most
_FEWEST_DISTILL_STEPS = 25
_EXACT = 0.1  # fraction of the output tolerance
_TUNE = 0.1  # of the optimiser steps, with one step less
_CONSISTENCY = 0.1  # keeps learned solvers of digits valid at no loss (experiments/validity)

ReportProgress = Callable[[str, int, Progress], None]
"""Receives the name of a phase, its number of optimiser steps, and its progress."""
ReportDistillation = Callable[[DistillationProgress], None]
"""Receives the progress of a distillation."""


@dataclass(frozen=True)
class Work:
    """The inputs that all phases share.

    Attributes:
        task: Data, model and loss.
        settings: Training settings.
        seed: Seed of initial weights, order of the data and random draws.
        report: Receives the progress of training.
        report_distillation: Receives that of each distillation.
        saved: The directory of checkpoints, with one folder for each phase; None for none.
        resume: Whether to continue from the newest checkpoints.
    """

    task: Task
    settings: Settings
    seed: int
    report: ReportProgress
    report_distillation: ReportDistillation = lambda progress: None
    saved: Path | None = None
    resume: bool = False


class PhaseResult(NamedTuple):
    """A model and a solver, the certificate of the two, and the phase that made them."""

    model: Any
    solver: AbstractSolver
    certificate: Certificate
    phase: Phase


def consistency_of(task: Task) -> AbstractPenalty | Penalties | None:
    """The penalty that training at the budget adds; None if the task's loss takes none."""
    if "penalty" not in takes(task):
        return None
    if isinstance(task, HasConsistency):
        return task.consistency
    return _CONSISTENCY * (Consistency() if calculus_of(task) is None else LocalError(size="solver"))


def _weighted(task: Task, options: FitOptions) -> AbstractPenalty | Penalties | None:
    """That penalty times the factor of the options; None if there is none."""
    penalty, weight = consistency_of(task), options.consistency
    return weight * penalty if weight and penalty is not None else None


def warm_up_steps(task: Task, options: FitOptions, settings: Settings) -> int:
    """Optimiser steps of the warm-up; none for a task without penalties, nor for an SDE, whose adaptive steps are the
    most expensive."""
    penalised = calculus_of(task) is None and consistency_of(task) is not None
    return options.warm_up_steps(settings) if penalised else 0


def warm_up(work: Work, steps: int, train_steps: int) -> tuple[Ended, Phase]:
    """Train with an adaptive solver, and a penalty on the error of one step of the budget's size.

    Args:
        work: The shared inputs.
        steps: Solver steps of the budget on one interval.
        train_steps: Optimiser steps of the warm-up.
    """
    begin, task = time.perf_counter(), work.task
    solver = Adaptive(DOPRI5, _WARM_TOLERANCE, _WARM_TOLERANCE)
    steps *= task.intervals if isinstance(task, HasIntervals) else 1
    own = isinstance(task, HasWarmUpPenalty)
    penalty = task.warm_up_penalty(steps) if own else 0.1 * LocalError(steps=steps)
    trained = _train(work, "warm-up", solver, Part(0, work.settings.train_steps), train_steps, penalty, lr_decay=1.0)
    return trained.ended, Phase("warm-up", title(solver), trained.validation, None, time.perf_counter() - begin)


def train(work: Work, options: FitOptions, after: Ended | None, solver: AbstractSolver, done: int) -> PhaseResult:
    """Train model and solver together at the budget, after `done` optimiser steps of a warm-up."""
    begin, penalty = time.perf_counter(), _weighted(work.task, options)
    whole = work.settings.train_steps
    trained = _train(work, "training", solver, Part(done, whole), whole - done, penalty, after=after)
    certificate = _certificate(work, trained.model, trained.solver)
    seconds = time.perf_counter() - begin
    phase = Phase("training", title(trained.solver), trained.validation, certificate.verdict, seconds)
    return PhaseResult(trained.model, trained.solver, certificate, phase)


def distilled(work: Work, before: PhaseResult) -> PhaseResult:
    """Fit the solver to the finished field; keep the solver of `before` if it is better."""
    begin, model = time.perf_counter(), before.model
    solver = _fitted(work, model, before.solver)
    found = _looked_at(work, "distillation", model, solver, begin)
    sign = 1 if work.task.metric.higher_is_better else -1
    rank = lambda one: (one.certificate.verdict == "valid", sign * one.phase.validation.metric)
    return found if rank(found) >= rank(before) else before._replace(phase=_not_kept(found.phase))


def least_steps(
    work: Work, before: PhaseResult, most: int, *, distills: bool
) -> tuple[PhaseResult | None, list[Phase]]:
    """The solver with the fewest steps, up to `most`, whose certificate is valid for this field, and all trials."""
    phases: list[Phase] = []

    def valid(steps: int) -> PhaseResult | None:
        begin, model = time.perf_counter(), before.model
        solver = before.solver.with_steps(steps)
        if distills:
            solver = _fitted(work, model, solver)
        found = _looked_at(work, "more evaluations", model, solver, begin)
        phases.append(found.phase)
        return found if found.certificate.verdict == "valid" else None

    return first_found(valid, list(ladder(before.solver.number_of_steps(), most))), phases


def fewer_steps(
    work: Work, options: FitOptions, before: PhaseResult, *, distills: bool
) -> tuple[PhaseResult, list[Phase]]:
    """The fewest steps whose certificate is valid and whose metric is no worse, and all trials.

    From a valid certificate down, one step less at a time: the model trains a little more with it, until a certificate
    is not valid, or the metric is worse by more than the certificate allows.
    """
    best, phases, all_steps = before, [], work.settings.train_steps
    tuning = max(1, round(_TUNE * all_steps))
    penalty = _weighted(work.task, options)
    while (steps := best.solver.number_of_steps() - 1) >= 1:
        begin, solver = time.perf_counter(), best.solver.with_steps(steps)
        name = f"fewer-evaluations-{solver.evaluations_per_interval()}"
        part = Part(all_steps - tuning, all_steps)
        trained = _train(work, name, solver, part, tuning, penalty, model=best.model)
        model, solver = trained.model, trained.solver
        if distills:
            solver = _fitted(work, model, solver)
        found = _looked_at(work, "fewer evaluations", model, solver, begin)
        if found.certificate.verdict != "valid" or not _no_worse(work.task, found.phase.validation, before):
            phases.append(_not_kept(found.phase))
            break
        phases.append(found.phase)
        best = found
    return best, phases


def _no_worse(task: Task, now: Evaluation, before: PhaseResult) -> bool:
    """Whether the metric on validation data is as good as before, up to the change that a certificate allows."""
    sign = 1 if task.metric.higher_is_better else -1
    certificate, was = before.certificate, before.phase.validation.metric
    return sign * (now.metric - was) >= -certificate.thresholds.metric * certificate.measured.kind.size(was)


def can_distill(task: Task, solver: AbstractSolver) -> bool:
    """Whether a solver can be fitted to a finished field: the task's trajectories follow one field, and a learned
    solver starts at this one."""
    if calculus_of(task) is not None or not isinstance(task, HasTrajectories) or learning(solver) is None:
        return False
    one = jax.tree.map(lambda x: x[:1], task.train)
    try:
        jax.eval_shape(lambda key: task.trajectories(task.init(key), one).y0, jax.random.key(0))
    except UserError:  # irregular times or control inputs, for example
        return False
    return True


def is_exact(certificate: Certificate) -> bool:
    """Whether the solver's own errors are so small that a second fit cannot help."""
    if certificate.verdict != "valid":
        return False
    far = [np.quantile(row.from_own, 0.95) for row in certificate.measured.references if row.from_own is not None]
    return max(far) <= _EXACT * certificate.thresholds.outputs


def _train(
    work: Work,
    name: str,
    solver: AbstractSolver,
    part: Part,
    steps: int,
    penalty: AbstractPenalty | Penalties | None,
    lr_decay: float | None = None,
    **start_from: Any,
) -> Trained:
    """Train for so many optimiser steps of a part, from `model=` or after the part that ended at `after=`."""
    decay = work.settings.lr_decay if lr_decay is None else lr_decay
    settings = replace(work.settings, train_steps=steps, lr_decay=decay)
    trainer = Trainer(work.task, solver, settings, penalty, part=part)
    checkpoints = None if work.saved is None else Checkpoints(work.saved / name)
    start = None
    if checkpoints is not None and work.resume:
        start = checkpoints.latest()
    elif checkpoints is not None:
        checkpoints.clear()
    return trainer.run(work.seed, lambda now: work.report(name, steps, now), checkpoints, start, **start_from)


def _fitted(work: Work, model: Any, solver: AbstractSolver) -> AbstractSolver:
    """The solver after fitting to the model's field, on some of the training samples."""
    rows_key, fit_key = jax.random.split(jax.random.fold_in(jax.random.key(work.seed), 1))
    field, y0, t0, t1, args = some_trajectories(work.task, model, _STARTS, rows_key)
    starts, most = starts_and_steps(sum(math.prod(leaf.shape[1:]) for leaf in jax.tree.leaves(y0)))
    y0 = jax.tree.map(lambda x: x[:starts], y0)
    student: Any = learning(solver)
    options = {"max_steps": most, "report": work.report_distillation, "key": fit_key}
    return distill(field, y0, t0, t1, student=student.for_interval(*work.task.interval), args=args, **options).solver


def starts_and_steps(size: int) -> tuple[int, int]:
    """How many starts of a distillation and steps of its fit, at most, for states of so many numbers."""
    starts = min(_STARTS, max(_FEWEST_STARTS, _NUMBERS // size))
    return starts, min(_DISTILL_STEPS, max(_FEWEST_DISTILL_STEPS, _WORK // (starts * size)))


def _looked_at(work: Work, name: str, model: Any, solver: AbstractSolver, begin: float) -> PhaseResult:
    """A model and a solver with their certificate and their evaluation, of a phase that began at this time."""
    certificate, validation = _certificate(work, model, solver), _evaluate(work, model, solver)
    phase = Phase(name, title(solver), validation, certificate.verdict, time.perf_counter() - begin)
    return PhaseResult(model, solver, certificate, phase)


def _not_kept(phase: Phase) -> Phase:
    return phase._replace(name=f"{phase.name}, not kept")


def _certificate(work: Work, model: Any, solver: AbstractSolver) -> Certificate:
    return certify_run(work.task, model, solver, work.task.validation, work.settings.batch_size, MOST_SAMPLES)


def _evaluate(work: Work, model: Any, solver: AbstractSolver) -> Evaluation:
    """The evaluation on validation data; NaN if the solve fails."""
    try:
        return evaluate(work.task, model, solver, work.task.validation, work.settings.batch_size)
    except SolveError:
        return Evaluation(math.nan, math.nan, math.nan)

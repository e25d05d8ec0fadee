"""fit: trains a model and a solver of a given cost together, and certifies the result."""

from pathlib import Path

from ..errors import UserError
from ..kinds import check_kind
from ..options.bounds import check_seed
from ..solvers.base.solver import AbstractSolver, check_solver, title
from ..tasks.abilities import calculus_of, check_task
from ..tasks.base import Task
from ..training.settings import Settings, check_settings
from . import phases
from .budget import solver_of
from .options import FitOptions
from .phases import ReportDistillation, ReportProgress
from .result import Fitted, Phase


def fit(
    task: Task,
    *,
    nfe: int | None = None,
    solver: AbstractSolver | None = None,
    stages: int | None = None,
    options: FitOptions | None = None,
    settings: Settings | None = None,
    allow_more: bool = False,
    least: bool = False,
    most_nfe: int | None = None,
    seed: int = 0,
    report: ReportProgress = lambda phase, steps, progress: None,
    report_distillation: ReportDistillation = lambda progress: None,
    saved: Path | None = None,
    resume: bool = False,
) -> Fitted:
    """Train a model and a solver of `nfe` evaluations together, and certify the result.

    1. The warm-up trains with an adaptive solver and a penalty, so that the field is easy to solve.
    2. Training at the budget trains model and learned solver together, with a penalty on the solver's own error.
    3. Distillation fits the solver once more to the finished field.
    4. The certificate says whether other solvers predict the same. If it is not valid, `fit` searches for the smallest
       NFE whose certificate is. If only samples are lacking, it does not search. If it is valid, `least` lets `fit`
       search in the other direction.

    Args:
        task: Data, model and loss: `kx.tasks.build("digits")`, or your own task (docs/own_task.md).
        nfe: Evaluations of the field in one solve; of the drift for an SDE. `fit` trains an SDE on a fixed grid from
            the start, with a penalty on the local error, and does not distil it.
        solver: A solver with a number of steps, in place of `nfe`: training at the budget starts there.
        stages: Evaluations of one step; None for the largest of 4, 3, 2 that divides `nfe`, else its smallest prime
            factor up to 13, else 1.
        options: The components; None for all of them.
        settings: Training settings; None for the defaults.
        allow_more: If the certificate at the budget is not valid, return the solver of the smallest NFE with a valid
            one.
        least: If the certificate at the budget is valid, train on with fewer steps, one less at a time, and return the
            last model whose certificate is valid and whose metric is no worse (up to what a certificate allows).
        most_nfe: The largest NFE of that search; None for eight times the budget.
        seed: Decides the initial weights and the order of the data.
        report: Called after every dispatch of training with the phase's name, its optimiser steps, and `Progress`.
        report_distillation: Called now and then while a distillation runs, with its `Progress`, as by `distill`.
        saved: A directory for checkpoints of training, one folder a phase; None for none. Remove it afterwards.
        resume: Continue from the newest checkpoints.

    Returns:
        A `Fitted`.

    Raises:
        UserError: A number is out of its range, the budget cannot be met, `least` is given for a solver of one step, or
            not exactly one of `nfe` and `solver` is given.
        TrainingError, SolveError: Training failed.
    """
    check_task(task)
    if settings is not None:
        check_settings(settings)
    if options is not None:
        check_kind("options", options, FitOptions, "a kx.FitOptions(...)")
    check_seed(seed)
    if solver is not None:
        check_solver(solver)
    options = options or FitOptions()
    start, budget = _start(task, nfe, solver, stages, options)
    most = 8 * budget if most_nfe is None else most_nfe
    if most < budget:
        raise UserError(f"most_nfe must be at least the budget, {budget}, got {most_nfe}")
    if least and start.number_of_steps() < 2:
        raise UserError("least takes steps away from a solver, and this one has one step: begin with two or more")
    work = phases.Work(task, settings or Settings(), seed, report, report_distillation, saved, resume)
    history: list[Phase] = []

    warmed, warm_steps = None, phases.warm_up_steps(task, options, work.settings)
    if warm_steps:
        warmed, phase = phases.warm_up(work, start.number_of_steps(), warm_steps)
        history.append(phase)

    now = phases.train(work, options, warmed, start, warm_steps)
    history.append(now.phase)

    distills = options.distill and phases.can_distill(task, now.solver)
    if distills and not phases.is_exact(now.certificate):
        now = phases.distilled(work, now)
        history.append(now.phase)

    least_nfe = None
    if least and now.certificate.verdict == "valid":
        now, tried = phases.fewer_steps(work, options, now, distills=distills)
        history += tried
    if now.certificate.verdict != "valid" and not now.certificate.lacks_samples:
        found, tried = phases.least_steps(work, now, most * start.number_of_steps() // budget, distills=distills)
        history += tried
        least_nfe = None if found is None else found.solver.evaluations_per_interval()
        now = found if found is not None and allow_more else now
    return Fitted(now.model, now.solver, now.certificate, tuple(history), least_nfe)


def _start(
    task: Task, nfe: int | None, solver: AbstractSolver | None, stages: int | None, options: FitOptions
) -> tuple[AbstractSolver, int]:
    """The solver at the start of training at the budget, and its evaluations on one interval."""
    if (nfe is None) == (solver is None):
        raise UserError("fit needs either nfe=, a number of evaluations, or solver=, where to start")
    if solver is None:
        assert nfe is not None
        calculus = calculus_of(task)
        solver = solver_of(nfe, stages, learned=options.learns(calculus), calculus=calculus)
    budget = solver.evaluations_per_interval()
    if budget is None:
        raise UserError(f"{title(solver)} does not say how many evaluations it takes: use a solver with fixed steps")
    return solver, budget

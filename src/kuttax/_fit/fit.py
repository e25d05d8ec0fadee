"""fit: a task and a budget in; a model, a solver of that cost, and a certificate out."""

import inspect
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import jax
import numpy as np
import optax

from ..distillation import distill
from ..errors import UserError
from ..penalties import Consistency, LocalError, Scheduled
from ..penalties.base import AbstractPenalty, Penalties
from ..solvers.base.solution import SolveError
from ..solvers.base.solver import AbstractSolver, title
from ..solvers.rk.adaptive import Adaptive
from ..solvers.rk.fixed import AbstractTableSolver
from ..solvers.rk.learned import LearnedRK
from ..solvers.rk.tableaus import DOPRI5
from ..solvers.sde.fixed_sde import AbstractSDESolver
from ..solvers.sde.sde import Calculus
from ..tasks.base import Task
from ..tasks.starts import some_trajectories
from ..training.certify import MOST_SAMPLES, certify_run
from ..training.checkpoints import Checkpoints
from ..training.evaluate import Evaluation, evaluate
from ..training.loop import Progress, Trainer
from ..training.settings import Settings
from ..validity import Certificate
from ..validity.resolution import with_steps
from .budget import evaluations_of, learning, solver_of

_STARTS = 512  # of a distillation
_WARM_TOLERANCE = 1e-3
_DISTILL_STEPS = 500
_EXACT = 0.1  # of the output tolerance
_CONSISTENCY = 0.1  # keeps learned solvers of digits valid at no loss (experiments/validity)

When = Literal["auto", "always", "never"]


@dataclass(frozen=True, kw_only=True)
class Levers:
    """What `fit` may pull. Each can be switched off.

    Attributes:
        warm_up: The part of the optimiser steps that trains with an adaptive solver, under a penalty on the error of
            one step of the budget's size (Pal et al., ICML 2023); 0 for none.
        learned: Whether the solver learns while the model is trained; else it is the classical scheme that it would
            start at. "auto": always of an ODE, never of an SDE, whose learned schemes made for no better field and for
            fewer valid certificates (experiments/fit).
        consistency: Factor of the penalty that keeps the field one of an ODE (after Ott et al., ICLR 2021), on top of
            the task's own weight; 0 for none.
        distill: Whether a solver is fitted to the finished field, beginning with the one that was trained with, where
            its errors are worth it.

    Raises:
        UserError: A number is out of its range.
    """

    warm_up: float = 0.2
    learned: When = "auto"
    consistency: float = 1.0
    distill: bool = True

    def __post_init__(self):
        if not 0 <= self.warm_up < 1:
            raise UserError(f"warm_up must lie in [0, 1), got {self.warm_up}")
        if self.learned not in get_args(When):
            raise UserError(f"learned must be one of {', '.join(get_args(When))}, got {self.learned!r}")
        if not (self.consistency >= 0 and math.isfinite(self.consistency)):
            raise UserError(f"consistency must be a number >= 0, got {self.consistency}")

    def warm_up_steps(self, settings: Settings) -> int:
        """Optimiser steps of the warm-up of an ODE: whole dispatches, and none where they would be all."""
        steps = settings.per_dispatch * round(self.warm_up * settings.train_steps / settings.per_dispatch)
        return steps if steps < settings.train_steps else 0

    def learns(self, calculus: Calculus | None) -> bool:
        """Whether the solver learns, of an SDE in that calculus or, None, of an ODE."""
        return self.learned == "always" or (self.learned == "auto" and calculus is None)


class Stage(NamedTuple):
    """One thing that `fit` did.

    Attributes:
        name: "warm-up", "training", "distillation" (which may not be "kept"), "more evaluations".
        solver: That it ended with.
        validation: Metric, loss and NFE on validation data, with that solver.
        verdict: The certificate's on validation data; None where it was not asked for.
        seconds: That it took, compilation included.
    """

    name: str
    solver: str
    validation: Evaluation
    verdict: str | None
    seconds: float


class Fitted(NamedTuple):
    """What `fit` returns.

    Attributes:
        model: Trained weights.
        solver: Of the budget's NFE, or of `least_nfe` where more was allowed.
        certificate: Of the two, on validation data.
        history: What was done, in order.
        least_nfe: Where the certificate is not valid at the budget: the smallest number of evaluations at which it is,
            for the same field; None where none was found, or where it is samples that are lacking.
    """

    model: Any
    solver: AbstractSolver
    certificate: Certificate
    history: tuple[Stage, ...]
    least_nfe: int | None = None

    @property
    def verdict(self) -> str:
        """The certificate's."""
        return self.certificate.verdict

    def __str__(self) -> str:
        rows = [
            f"{s.name:<22} {s.validation.metric:10.4g} {s.validation.nfe:8.4g} {s.seconds:8.3g}  {s.verdict or '-':<9} "
            f" {s.solver}"
            for s in self.history
        ]
        head = f"{'stage':<22} {'validation':>10} {'NFE':>8} {'seconds':>8}  {'an ODE?':<9}  solver"
        return "\n".join([head, *rows])


Report = Callable[[str, int, Progress], None]
"""Is told a stage's name, how many optimiser steps it has, and how far it is."""


def fit(
    task: Task,
    *,
    nfe: int,
    stages: int | None = None,
    levers: Levers | None = None,
    settings: Settings | None = None,
    allow_more: bool = False,
    most_nfe: int | None = None,
    seed: int = 0,
    report: Report = lambda stage, steps, progress: None,
    saved: Path | None = None,
    resume: bool = False,
) -> Fitted:
    """Train a model and a solver of `nfe` evaluations together, and certify that the field is one of an ODE.

    A warm-up with an adaptive solver finds a field that is easy to cross; model and learned solver are then trained
    together at the budget, with a penalty on what the solver's own errors contribute; the solver is fitted once more to
    the finished field; and the certificate says whether that field means anything without it. Where it does not, the
    smallest NFE is looked for at which it does.

    Args:
        task: Data, model and loss: `kx.tasks.build_task("digits")`, or one of your own (docs/own_task.md).
        nfe: Evaluations of the field in one solve; of the drift, where the task is an SDE. That is trained with a fixed
            grid from the start, on its paths' local error, and is not distilled.
        stages: Of one step, 1 to 4; None for the most that divide `nfe`.
        levers: What may be done; None for all of it.
        settings: Of training; None for the defaults.
        allow_more: Where the certificate is not valid at the budget, go on to the smallest NFE at which it is.
        most_nfe: Where that search ends; None for eight times the budget.
        seed: Decides the initial weights and the order of the data.
        report: Called after every dispatch of training with the stage's name, its optimiser steps, and `Progress`.
        saved: A directory for checkpoints of training, one folder a stage; None for none. Remove it when all is done.
        resume: Go on from the newest of them.

    Returns:
        A `Fitted`.

    Raises:
        UserError: A number is out of its range, or the budget cannot be met.
        TrainingError, SolveError: Training failed.
    """
    levers = levers or Levers()
    calculus = getattr(task, "calculus", None)
    start = solver_of(nfe, stages, learned=levers.learns(calculus), calculus=calculus)
    most = 8 * nfe if most_nfe is None else most_nfe
    if most < nfe:
        raise UserError(f"most_nfe must be at least the budget, {nfe}, got {most_nfe}")
    work = _Fit(task, levers, settings or Settings(), seed, report, saved, resume)
    return work.run(start, most * start.steps // nfe, allow_more)


class _Fit:
    """One fit: its parts, and what they have done so far."""

    def __init__(
        self,
        task: Task,
        levers: Levers,
        settings: Settings,
        seed: int,
        report: Report,
        saved: Path | None,
        resume: bool,
    ):
        self.task, self.levers, self.settings, self.seed = task, levers, settings, seed
        self.report, self.saved, self.resume = report, saved, resume
        self.history: list[Stage] = []
        usual = Consistency() if self._is_ode else LocalError(size="solver")
        self.consistency = getattr(task, "consistency", _CONSISTENCY * usual)
        if "penalty" not in inspect.signature(task.loss).parameters:
            self.consistency = None

    def run(self, start: AbstractTableSolver | AbstractSDESolver, most_steps: int, allow_more: bool) -> Fitted:
        """All stages, one after the other, with the solver at the budget."""
        warm_steps = self._warm_steps()
        model = self._warmed(start.steps, warm_steps) if warm_steps else None
        model, solver, certificate = self._trained(model, start, warm_steps)
        if self._can_distill and not _is_exact(certificate):
            solver, certificate = self._distilled(model, solver, certificate)
        least = None
        if certificate.verdict != "valid" and not certificate.lacks_samples:
            found = self._more(model, solver, most_steps)
            if found is not None:
                least = evaluations_of(found[0])
                solver, certificate = found if allow_more else (solver, certificate)
        return Fitted(model, solver, certificate, tuple(self.history), least)

    def _learned(self, solver: Any) -> LearnedRK:
        """The solver, able to learn."""
        return (solver if isinstance(solver, LearnedRK) else learning(solver)).meant_for(*self.task.interval)

    @property
    def _is_ode(self) -> bool:
        return getattr(self.task, "calculus", None) is None

    def _warm_steps(self) -> int:
        """Optimiser steps of the warm-up: none for a task without penalties or of an SDE, whose adaptive steps are the
        dearest."""
        return self.levers.warm_up_steps(self.settings) if self._is_ode and self.consistency is not None else 0

    def _warmed(self, steps: int, train_steps: int) -> Any:
        """The model after training with an adaptive solver and the penalty on a step of the budget's size."""
        begin = time.perf_counter()
        solver = Adaptive(DOPRI5, _WARM_TOLERANCE, _WARM_TOLERANCE)
        easing = getattr(self.task, "warm_up_penalty", lambda steps: 0.1 * LocalError(steps=steps))
        penalty = _constant(easing(steps * getattr(self.task, "intervals", 1)))
        trained = self._train("warm-up", solver, (0, train_steps), penalty, None)
        self._note("warm-up", trained.solver, trained.validation, None, begin)
        return trained.model

    def _trained(self, model: Any, solver: AbstractSolver, done: int) -> tuple[Any, AbstractSolver, Certificate]:
        """Model and solver, trained together at the budget."""
        begin, weight = time.perf_counter(), self.levers.consistency
        penalty = _constant(weight * self.consistency) if weight and self.consistency is not None else None
        trained = self._train("training", solver, (done, self.settings.train_steps), penalty, model)
        certificate = self._certificate(trained.model, trained.solver)
        self._note("training", trained.solver, trained.validation, certificate, begin)
        return trained.model, trained.solver, certificate

    def _train(self, name: str, solver: Any, part: tuple[int, int], penalty: Scheduled | None, model: Any) -> Any:
        """The optimiser steps of that part of the training, at a constant rate unless it is the last."""
        (begin, end), whole = part, self.settings.train_steps
        steps, decay = end - begin, self.settings.lr_decay if end == whole else 1.0
        settings = replace(self.settings, train_steps=steps, lr_decay=decay)
        trainer = Trainer(self.task, solver, settings, penalty, span=(begin / whole, end / whole))
        checkpoints = None if self.saved is None else Checkpoints(self.saved / name)
        start = None
        if checkpoints is not None and self.resume:
            start = checkpoints.latest()
        elif checkpoints is not None:
            checkpoints.clear()
        return trainer.run(self.seed, lambda now: self.report(name, steps, now), checkpoints, start, model=model)

    def _distilled(
        self, model: Any, solver: AbstractSolver, certificate: Certificate
    ) -> tuple[AbstractSolver, Certificate]:
        """The solver fitted to the frozen field; the one before is kept where that is the better of the two."""
        begin = time.perf_counter()
        fitted = self._fitted(model, solver)
        found, validation = self._certificate(model, fitted), self._evaluate(model, fitted)
        before = self.history[-1].validation.metric
        sign = 1 if self.task.metric.higher_is_better else -1
        rank = lambda certificate, metric: (certificate.verdict == "valid", sign * metric)
        better = rank(found, validation.metric) >= rank(certificate, before)
        self._note("distillation" if better else "distillation, not kept", fitted, validation, found, begin)
        return (fitted, found) if better else (solver, certificate)

    def _more(self, model: Any, solver: Any, most: int) -> tuple[Any, Certificate] | None:
        """The solver with the fewest steps whose certificate is valid for this field; None up to `most` steps."""

        def valid(steps: int) -> tuple[Any, Certificate] | None:
            begin = time.perf_counter()
            finer = with_steps(solver, steps)
            if self._can_distill:
                finer = self._fitted(model, finer)
            certificate = self._certificate(model, finer)
            self._note("more evaluations", finer, self._evaluate(model, finer), certificate, begin)
            return (finer, certificate) if certificate.verdict == "valid" else None

        return _first(valid, list(_ladder(solver.steps, most)))

    @cached_property
    def _can_distill(self) -> bool:
        """Whether solvers are fitted to finished fields: asked for, and the task's trajectories follow one field."""
        if not (self.levers.distill and self._is_ode and hasattr(self.task, "trajectories")):
            return False
        task: Any = self.task
        one = jax.tree.map(lambda x: x[:1], task.train)
        try:
            jax.eval_shape(lambda key: task.trajectories(task.init(key), one).y0, jax.random.key(0))
        except UserError:  # as of irregular times or control inputs
            return False
        return True

    def _fitted(self, model: Any, solver: Any) -> LearnedRK:
        rows_key, fit_key = jax.random.split(jax.random.fold_in(jax.random.key(self.seed), 1))
        field, y0, t0, t1, args = some_trajectories(self.task, model, _STARTS, rows_key)
        student = self._learned(solver)
        return distill(field, y0, t0, t1, student=student, args=args, max_steps=_DISTILL_STEPS, key=fit_key).solver

    def _certificate(self, model: Any, solver: AbstractSolver) -> Certificate:
        return certify_run(self.task, model, solver, self.task.validation, self.settings.batch_size, MOST_SAMPLES)

    def _evaluate(self, model: Any, solver: AbstractSolver) -> Evaluation:
        """On validation data; NaN where the solver does not get through the field."""
        try:
            return evaluate(self.task, model, solver, self.task.validation, self.settings.batch_size)
        except SolveError:
            return Evaluation(math.nan, math.nan, math.nan)

    def _note(
        self, name: str, solver: AbstractSolver, validation: Evaluation, certificate: Certificate | None, begin: float
    ) -> None:
        verdict = None if certificate is None else certificate.verdict
        self.history.append(Stage(name, title(solver), validation, verdict, time.perf_counter() - begin))


def _is_exact(certificate: Certificate) -> bool:
    """Whether the solver's own errors are so small that fitting it again cannot matter."""
    if certificate.verdict != "valid":
        return False
    far = [np.quantile(row.from_own, 0.95) for row in certificate.measured.references if row.from_own is not None]
    return max(far) <= _EXACT * certificate.thresholds.outputs


def _constant(penalty: AbstractPenalty | Penalties) -> Scheduled:
    return Scheduled(penalty, optax.constant_schedule(1.0))


def _ladder(steps: int, most: int) -> Iterator[int]:
    """More and more steps: one more up to twice as many, then a quarter more."""
    now = steps
    while now < most:
        now = now + 1 if now < 2 * steps else max(now + 1, round(1.25 * now))
        yield min(now, most)


def _first(found: Callable[[int], Any], rungs: Sequence[int]) -> Any:
    """What is found at the lowest rung where something is; None where nothing is up to the last.

    It leaps twice as far each time, then halves the gap: where something is found, it is on every rung above.
    """
    below, at, best = -1, -1, None
    while best is None and below < len(rungs) - 1:
        at = min(2 * below + 2, len(rungs) - 1)
        best = found(rungs[at])
        below = at if best is None else below
    while best is not None and at - below > 1:
        middle = (below + at) // 2
        lower = found(rungs[middle])
        below, at, best = (middle, at, best) if lower is None else (below, middle, lower)
    return best

"""The training loop: optax, several steps a dispatch, the best model on validation data."""

import math
import statistics
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..data.batches import BatchStream
from ..errors import UserError
from ..io.checkpoints import Checkpoint, Checkpoints, SavedPart, restored
from ..options.bounds import check_seed
from ..penalties.base import InTraining, terms_of
from ..solvers.base.solution import SolveError
from ..solvers.base.solver import AbstractSolver, check_solver
from ..tasks.abilities import check_task, takes
from ..tasks.base import Task
from ..validity.control.control import Control
from .evaluate import Evaluation, evaluate
from .failure import Failures
from .failure import TrainingError as TrainingError
from .parallel import OneDevice, Placement, check_batch
from .part import Ended, Part
from .program import Program
from .run import Run
from .saving import Saving
from .saving import Stopped as Stopped
from .settings import Settings, check_settings
from .watch import Controlled, Watch


class Progress(NamedTuple):
    """The report of training after every dispatch."""

    step: int
    loss: float
    metric: float
    nfe: float
    seconds: float
    validation: Evaluation | None
    controlled: Controlled | None = None
    failures: Failures = Failures()


class Trained(NamedTuple):
    """A finished training run.

    Attributes:
        model, solver: At the best validation metric; with a control, at the end of training.
        best_step: The optimiser step of that model.
        validation: Its evaluation on validation data.
        train_seconds: Time in optimiser steps: without compilation and evaluation.
        compile_seconds: Compilation of the training step.
        step_ms: Median time of a step over the second half of training.
        controlled: The record of the control; None without one.
        failures: The failures during training.
        ended: The end of the training, which may be after the best; for `Trainer.run(after=)`.
    """

    model: Any
    solver: AbstractSolver
    best_step: int
    validation: Evaluation
    train_seconds: float
    compile_seconds: float
    step_ms: float
    ended: Ended
    controlled: Controlled | None = None
    failures: Failures = Failures()


class Best(NamedTuple):
    """The weights with the best validation metric so far; None for the weights under a control."""

    step: int
    validation: Evaluation
    weights: PyTree


class Trainer:
    """Trains models of one task with one solver; the compiled programs work for every seed.

    Args:
        task: Data, model and loss.
        solver: The solver at the start of a run. A `LearnedRK` learns; a control changes steps or tolerance.
        settings: Training settings.
        penalty: Added to the loss: a penalty, a sum of them, or `Scheduled`; None for none.
        control: Control of steps or tolerance (`kuttax.validity`); None keeps them. Training then returns the last
            model, with the control's last solver, since a model that was better on validation data may have been no
            ODE.
        place: The devices: `DataParallel()` divides every batch among all devices (docs/scale_out.md). None for one.
        part: Where these runs stand in a training of several parts; None: they are the whole.

    Raises:
        UserError: There are fewer training samples than the batch size, the batch size is not divisible by the number
            of devices, the task takes no penalty, `penalty` is no penalty, or the control cannot control this
            solver.
    """

    def __init__(
        self,
        task: Task,
        solver: AbstractSolver,
        settings: Settings,
        penalty: InTraining | None = None,
        control: Control | None = None,
        place: Placement | None = None,
        part: Part | None = None,
    ):
        check_task(task)
        check_solver(solver)
        check_settings(settings)
        self.solver = solver.for_interval(*task.interval)
        self.task, self.settings, self.batch_size = task, settings, settings.batch_size
        self.penalty, self.control, self.place = penalty, control, place or OneDevice()
        self.part = part or Part(0, settings.train_steps)
        if penalty is not None and "penalty" not in takes(task):
            how = 'give it a parameter penalty=None, and the task loss_options = ("penalty",) (docs/own_task.md)'
            raise UserError(f"the loss of {task.name} takes no penalty: {how}")
        if penalty is not None and not isinstance(penalty, InTraining):
            terms_of(penalty)  # which refuses it
        self.samples = len(jax.tree.leaves(task.train)[0])
        BatchStream(self.samples, self.batch_size)  # raises for an invalid batch size, before any compilation
        check_batch(self.place, self.batch_size)
        if control is not None:
            control.init(self.solver)  # raises for a solver that it cannot control
        self.per_dispatch = settings.per_dispatch if control is None else control.dispatch(settings.per_dispatch)
        self._programs: dict[Any, Program] = {}

    def refuse_unfit(self) -> None:
        """Trace the loss of one batch, without compiling it, to raise errors of task, solver and penalty early.

        Raises:
            UserError: The error that the loss would raise when training begins.
        """
        program, first = self.program(self.solver), jnp.asarray(0)
        loss = lambda batch, key: program.loss(self.task.init(key), self.solver, batch, key, first)[0]
        batch = jax.tree.map(lambda x: jax.ShapeDtypeStruct((self.batch_size, *x.shape[1:]), x.dtype), self.task.train)
        jax.eval_shape(loss, batch, jax.random.key(0))

    def program(self, solver: AbstractSolver) -> Program:
        """The compiled optimiser steps for solvers with the structure of this one."""
        structure = jax.tree.structure(solver)
        if structure not in self._programs:
            self._programs[structure] = Program(self.task, solver, self.settings, self.penalty, self.place, self.part)
        return self._programs[structure]

    @property
    def compile_seconds(self) -> float:
        """Time spent on compiling optimiser steps, in all runs so far."""
        return sum(program.compile_seconds for program in self._programs.values())

    @property
    def compilations(self) -> int:
        """The number of compiled programs of optimiser steps, in all runs so far."""
        return sum(program.compilations for program in self._programs.values())

    def run(
        self,
        seed: int,
        report: Callable[[Progress], None] = lambda _: None,
        checkpoints: Checkpoints | None = None,
        start: Checkpoint | None = None,
        model: Any = None,
        after: Ended | None = None,
    ) -> Trained:
        """Train from the weights of `seed`; `report` is called after every dispatch.

        Args:
            seed: Seed of the weights, the order of the data and the loss's noise.
            report: Receives the progress.
            checkpoints: Where to save the run during training; None for nowhere. With it, Ctrl-C and SIGTERM save and
                stop.
            start: The checkpoint to continue from (`checkpoints.latest()`), with bit-identical results to an
                uninterrupted run. None for the beginning.
            model: Initial weights of the task's model; None for those of `seed`.
            after: The end of the part before, to go on from, in place of `model`.

        Raises:
            TrainingError: Steps failed, and the settings end training then; a `SolveError` if a solve failed.
            Stopped: A signal stopped the run, after saving it.
            UserError: The checkpoint belongs to another run.
        """
        check_seed(seed)
        model_key, key = jax.random.split(jax.random.key(seed))
        stream = BatchStream(self.samples, self.batch_size, seed, self.part.begin)
        if after is not None:
            model = after.model
        elif model is None:
            model = self.task.init(model_key)
        before = None if after is None else after.optimiser
        run = Run(self.program(self.solver), self.settings, model, self.solver, stream, self.task.train, key, before)
        watch = None if self.control is None else self._watch(self.control, run)
        best = None if start is None else self._restored(start, seed, run, watch)
        state = lambda: self._saved(seed, run, watch, best)
        with Saving(checkpoints, state, lambda: run.step, self.place) as saving:
            saving.look(now=start is None)  # so that there is always a checkpoint to continue from
            while run.step < self.settings.train_steps:
                means = run.advance(min(self.per_dispatch, self._next_evaluation(run.step) - run.step))
                validation = None
                if run.step == self._next_evaluation(run.step - 1):
                    validation = self._validated(run, best)
                    if best is None or self._better(validation, best.validation):
                        best = Best(run.step, validation, run.snapshot() if watch is None else None)
                if watch is not None:
                    watch.look()
                report(self._progress(run, means, validation, watch))
                saving.look(now=run.step >= self.settings.train_steps)
            if watch is not None:
                watch.close(self.per_dispatch, saving.look)
        assert best is not None
        if watch is None:
            return self._trained(run, best.step, best.validation, *run.restored(best.weights))
        end = self._evaluate(run.model, run.solver)
        return self._trained(run, run.step, end, run.model, run.solver)._replace(controlled=watch.controlled)

    def _saved(self, seed: int, run: Run, watch: Watch | None, best: Best | None) -> dict[str, SavedPart]:
        """The state of all parts of a run."""
        parts = {"about": SavedPart(self._about(seed)), "run": run.saved()}
        if watch is not None:
            parts["watch"] = watch.saved()
        if best is not None:
            plain = {"step": best.step, "validation": best.validation._asdict()}
            parts["best"] = SavedPart(plain, jax.tree.leaves(best.weights))
        return parts

    def _restored(self, start: Checkpoint, seed: int, run: Run, watch: Watch | None) -> Best | None:
        """Restore the parts of a run; returns the best weights at that time."""
        for name, value in self._about(seed).items():
            was = start.parts["about"].plain.get(name)
            if was != value:
                raise UserError(f"{start.path} is of another run: {name} was {was}, and is {value}")
        if watch is not None:
            watch.restore(start.parts["watch"])
        run.restore(start.parts["run"])
        if "best" not in start.parts:
            return None
        plain, arrays = start.parts["best"]
        weights = restored(arrays, run.snapshot()) if watch is None else None
        return Best(plain["step"], Evaluation(**plain["validation"]), weights)

    def _about(self, seed: int) -> dict[str, Any]:
        """The properties that must be the same to continue a run."""
        control = None if self.control is None else type(self.control).__name__
        return {"task": self.task.name, "seed": seed, "control": control, **asdict(self.settings)}

    def _progress(
        self, run: Run, means: dict[str, float], validation: Evaluation | None, watch: Watch | None
    ) -> Progress:
        controlled = None if watch is None else watch.controlled
        return Progress(
            run.step,
            **means,
            seconds=run.seconds,
            validation=validation,
            controlled=controlled,
            failures=run.failures,
        )

    def _watch(self, control: Control, run: Run) -> Watch:
        turn = lambda solver: run.turn(self.program(solver), solver)
        return Watch(control, self.task, run, self.settings.train_steps, turn)

    def _evaluate(self, model: Any, solver: AbstractSolver) -> Evaluation:
        return evaluate(self.task, model, solver, self.task.validation, self.batch_size)

    def _validated(self, run: Run, best: Best | None) -> Evaluation:
        """The evaluation on validation data; NaN if a solve fails, since a later one may succeed.

        Raises:
            SolveError: The last evaluation fails, and there is no earlier one that succeeded.
        """
        try:
            return self._evaluate(run.model, run.solver)
        except SolveError:
            if run.step == self.settings.train_steps and (best is None or math.isnan(best.validation.metric)):
                raise
            return Evaluation(math.nan, math.nan, math.nan)

    def _trained(self, run: Run, step: int, validation: Evaluation, model: Any, solver: AbstractSolver) -> Trained:
        late = [ms for at, ms in run.step_ms if at >= self.settings.train_steps // 2] or [run.step_ms[-1][1]]
        ms = statistics.median(late)
        return Trained(
            model, solver, step, validation, run.seconds, self.compile_seconds, ms, run.ended, failures=run.failures
        )

    def _next_evaluation(self, step: int) -> int:
        """The first step after `step` that evaluates on the validation set."""
        every = math.ceil(self.settings.train_steps / self.settings.evaluations)
        if self.control is not None:  # whole dispatches: each other number of steps would need a compilation
            every = math.ceil(every / self.per_dispatch) * self.per_dispatch
        return min((step // every + 1) * every, self.settings.train_steps)

    def _better(self, new: Evaluation, old: Evaluation) -> bool:
        """Whether the metric is better (in the task's direction), or equal with a lower loss; NaN is worst."""
        if math.isnan(old.metric):
            return True
        sign = 1 if self.task.metric.higher_is_better else -1
        return (sign * new.metric, -new.loss) > (sign * old.metric, -old.loss)

"""The training loop: optax, several steps a dispatch, the best model on validation data."""

import inspect
import math
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from ..data.batches import BatchStream
from ..errors import UserError
from ..penalties.schedule import Scheduled
from ..solvers.base import AbstractSolver, title
from ..solvers.learned import is_learned
from ..solvers.solution import SolveError, Status
from ..tasks.base import Task
from ..trainable import labels, trainable
from .evaluate import Evaluation, evaluate
from .optimiser import optimiser
from .settings import Settings


class TrainingError(RuntimeError):
    """Training cannot go on: the loss is not a number any more."""


class Progress(NamedTuple):
    """What training reports after every dispatch."""

    step: int
    loss: float
    metric: float
    nfe: float
    seconds: float
    validation: Evaluation | None


class Trained(NamedTuple):
    """A finished training run.

    Attributes:
        model, solver: As they were at the best validation metric.
        best_step: When that was.
        validation: The evaluation there.
        train_seconds: Spent in optimiser steps: without compilation and evaluation.
        compile_seconds: Compilation of the training step.
        step_ms: Median time of a step over the second half of training.
    """

    model: Any
    solver: AbstractSolver
    best_step: int
    validation: Evaluation
    train_seconds: float
    compile_seconds: float
    step_ms: float


class Trainer:
    """Trains models of one task with solvers of one structure; what is compiled serves every seed.

    Args:
        task: What to train on.
        solver: Where a run's solver starts; only a `LearnedRK` changes.
        settings: How to train.
        penalty: Added to the loss; None for the loss alone.

    Raises:
        UserError: There are fewer training samples than the batch size, or the task takes no penalty.
    """

    def __init__(self, task: Task, solver: AbstractSolver, settings: Settings, penalty: Scheduled | None = None):
        meant = lambda part: part.meant_for(*task.interval) if is_learned(part) else part  # noqa: E731
        solver = jax.tree.map(meant, solver, is_leaf=is_learned)
        self.task, self.solver, self.settings, self.batch_size = task, solver, settings, settings.batch_size
        self.penalty = penalty
        if penalty is not None and "penalty" not in inspect.signature(task.loss).parameters:
            raise UserError(f"the loss of {task.name} takes no penalty: give it one, penalty=None (docs/own_task.md)")
        self.samples = len(jax.tree.leaves(task.train)[0])
        BatchStream(self.samples, self.batch_size)  # refuses a batch size that cannot be, before anything is compiled
        model = task.init(jax.random.key(0))
        self.mask = trainable((model, solver))
        varied, self.fixed = eqx.partition((model, solver), self.mask)
        self.optimiser = optimiser(settings, labels(varied))
        self.compile_seconds = 0.0
        self._compiled: dict[int, Callable[..., Any]] = {}

    def run(self, seed: int, report: Callable[[Progress], None] = lambda _: None) -> Trained:
        """Train from the weights of `seed`; `report` is called after every dispatch.

        Raises:
            TrainingError: The loss became NaN or infinite.
            SolveError: A solve failed.
        """
        model_key, key = jax.random.split(jax.random.key(seed))
        varied, _ = eqx.partition((self.task.init(model_key), self.solver), self.mask)
        data = jax.tree.map(jnp.asarray, self.task.train)
        varied = jax.tree.map(jnp.array, varied)  # copies: every dispatch consumes what it is given
        state = self.optimiser.init(varied)
        stream = BatchStream(self.samples, self.batch_size, seed)
        best, seconds, step_times, step = None, 0.0, [], 0
        while step < self.settings.train_steps:
            count = min(self.settings.per_dispatch, self._next_evaluation(step) - step)
            run = self._dispatch(count, varied, state, data, key)
            begin = time.perf_counter()
            indices = jnp.asarray(stream.take(step, count))
            varied, state, logs = jax.block_until_ready(run(varied, state, data, indices, key, jnp.asarray(step)))
            elapsed = time.perf_counter() - begin
            seconds += elapsed
            step_times.append((step, 1e3 * elapsed / count))
            logs = {name: np.asarray(values, np.float64) for name, values in logs.items()}
            _check(logs, step, self.solver)
            step += count
            validation = None
            if step == self._next_evaluation(step - 1):
                model, solver = eqx.combine(varied, self.fixed)
                validation = evaluate(self.task, model, solver, self.task.validation, self.batch_size)
                if best is None or self._better(validation, best[1]):
                    best = (step, validation, jax.tree.map(np.asarray, varied))
            means = {name: float(logs[name].mean()) for name in ("loss", "metric", "nfe")}
            report(Progress(step=step, seconds=seconds, validation=validation, **means))
        assert best is not None
        model, solver = eqx.combine(jax.tree.map(jnp.asarray, best[2]), self.fixed)
        late = [ms for at, ms in step_times if at >= self.settings.train_steps // 2] or [step_times[-1][1]]
        return Trained(model, solver, best[0], best[1], seconds, self.compile_seconds, statistics.median(late))

    def _next_evaluation(self, step: int) -> int:
        """The first step after `step` at which the validation set is looked at."""
        every = max(1, math.ceil(self.settings.train_steps / self.settings.evaluations))
        return min((step // every + 1) * every, self.settings.train_steps)

    def _better(self, new: Evaluation, old: Evaluation) -> bool:
        """Higher metric (or lower, as the task says); between equals, the lower loss; anything rather than NaN."""
        if math.isnan(old.metric):
            return True
        sign = 1 if self.task.metric.higher_is_better else -1
        return (sign * new.metric, -new.loss) > (sign * old.metric, -old.loss)

    def _dispatch(self, count: int, varied: PyTree, state: PyTree, data: PyTree, key) -> Callable[..., Any]:
        """The compiled run of `count` steps."""
        if count not in self._compiled:
            begin = time.perf_counter()
            indices = jnp.zeros((count, self.batch_size), jnp.int32)
            program = jax.jit(self._steps, donate_argnums=(0, 1))
            self._compiled[count] = program.lower(varied, state, data, indices, key, jnp.asarray(0)).compile()
            self.compile_seconds += time.perf_counter() - begin
        return self._compiled[count]

    def _steps(self, varied, state, data, indices, key, start):
        """Several optimiser steps in one program."""

        def loss(varied, batch, key, number):
            model, solver = eqx.combine(varied, self.fixed)
            options = {} if self.penalty is None else {"penalty": self.penalty.at(number)}
            of_task: Any = self.task.loss
            return of_task(model, solver, batch, key, **options)

        def step(carry, now):
            (varied, state), (rows, number) = carry, now
            batch = jax.tree.map(lambda x: x[rows], data)
            (value, logs), gradient = jax.value_and_grad(loss, has_aux=True)(
                varied, batch, jax.random.fold_in(key, number), number
            )
            with jax.numpy_dtype_promotion("standard"):  # optax needs it, whatever the user has set
                updates, state = self.optimiser.update(gradient, state, varied)
            return (optax.apply_updates(varied, updates), state), {**logs, "loss": value}

        numbers = start + jnp.arange(len(indices), dtype=start.dtype)
        (varied, state), logs = jax.lax.scan(step, (varied, state), (indices, numbers))
        return varied, state, logs


def _check(logs: dict[str, np.ndarray], first: int, solver: AbstractSolver) -> None:
    """Stop at the first failed solve or lost loss, and say where."""
    name = title(solver)
    failed = np.flatnonzero(logs["status"])
    if failed.size:
        status = Status(int(logs["status"][failed[0]]))
        raise SolveError(status, f"training step {first + failed[0] + 1} with {name}: {status.message}")
    lost = np.flatnonzero(~np.isfinite(logs["loss"]))
    if lost.size:
        raise TrainingError(
            f"the loss became {logs['loss'][lost[0]]} at training step {first + lost[0] + 1} with {name}: "
            "lower --lr, or look for extreme values in the data"
        )

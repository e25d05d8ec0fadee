"""Program: several optimiser steps in one compiled call, for solvers of one structure."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from ..penalties.schedule import Scheduled
from ..solvers.base.solver import AbstractSolver
from ..solvers.rk.learned import resampled_rows
from ..solvers.trainable import labels, trainable
from ..tasks.abilities import takes
from ..tasks.base import Task
from .guard import Point, guard_of, judged
from .optimiser import optimiser
from .parallel import OneDevice, Placement
from .settings import Settings


class Carried(NamedTuple):
    """What goes from one optimiser step to the next beside the weights: the optimiser's state, and the guard's."""

    optimiser: PyTree
    guard: Any


class Program:
    """The optimiser steps of a task with solvers of one structure, whatever their numbers; any seed.

    Args:
        task: What to train on.
        solver: Of the structure.
        settings: How to train.
        penalty: Added to the loss; None for the loss alone.
        place: Where it runs.
        span: Where in the whole training it begins and ends, as the loss is told its `progress`.
    """

    def __init__(
        self,
        task: Task,
        solver: AbstractSolver,
        settings: Settings,
        penalty: Scheduled | None,
        place: Placement | None = None,
        span: tuple[float, float] = (0.0, 1.0),
    ):
        self.task, self.penalty, self.batch_size = task, penalty, settings.batch_size
        self.place = place or OneDevice()
        self.train_steps, self.span = settings.train_steps, span
        model = task.init(jax.random.key(0))
        self.mask = trainable((model, solver))
        varied, fixed = eqx.partition((model, solver), self.mask)
        self.static = eqx.partition(fixed, eqx.is_array)[1]
        self.optimiser = optimiser(settings, labels(varied))
        self.guard, self.tolerant = guard_of(settings), settings.on_failure != "raise"
        self.compile_seconds = 0.0
        self._compiled: dict[int, Callable[..., Any]] = {}

    def split(self, model: Any, solver: AbstractSolver) -> tuple[PyTree, PyTree]:
        """What is trained, and the numbers that are not."""
        varied, fixed = eqx.partition((model, solver), self.mask)
        return varied, eqx.filter(fixed, eqx.is_array)

    def join(self, varied: PyTree, numbers: PyTree) -> tuple[Any, AbstractSolver]:
        """Model and solver; the inverse of `split`."""
        return eqx.combine(varied, numbers, self.static)

    def begin(self, varied: PyTree) -> Carried:
        """What is carried from step to step, before the first one."""
        state = self.optimiser.init(varied)
        return Carried(state, self.guard.begin(Point(varied, state)))

    def carried(self, before: Carried, varied: PyTree) -> Carried:
        """What is carried on from the steps of another program, whose solver had another number of steps."""
        state = carried_over(before.optimiser, self.optimiser.init(varied))
        return Carried(state, self.guard.went_on(before.guard, Point(varied, state)))

    def compiled(self, count: int, varied: PyTree, state: PyTree, numbers: PyTree, data: PyTree, key) -> Callable:
        """The compiled run of `count` steps; it consumes `varied` and `state`."""
        if count not in self._compiled:
            begin = time.perf_counter()
            order = self.place.replicated((jnp.zeros((count, self.batch_size), jnp.int32), jnp.asarray(0)))
            program = jax.jit(self._steps, donate_argnums=(0, 1), **self.place.out)
            lowered = program.lower(varied, state, numbers, data, order[0], key, order[1])
            self._compiled[count] = lowered.compile()
            self.compile_seconds += time.perf_counter() - begin
        return self._compiled[count]

    @property
    def compilations(self) -> int:
        """How many programs were compiled."""
        return len(self._compiled)

    def loss(self, model: Any, solver: AbstractSolver, batch: PyTree, key, number) -> tuple[Any, dict[str, Any]]:
        """The task's loss and its logs at the training step of that number, with what it is weighed with there."""
        options = {} if self.penalty is None else {"penalty": self.penalty.at(number)}
        if "progress" in takes(self.task):
            begin, end = self.span
            options["progress"] = begin + (end - begin) * (number / self.train_steps)
        of_task: Any = self.task.loss
        return of_task(model, solver, batch, key, **options)

    def _steps(self, varied, state, numbers, data, indices, key, start):
        def loss(varied, batch, key, number):
            return self.loss(*self.join(varied, numbers), batch, key, number)

        def step(carry, now):
            (varied, state), (rows, number) = carry, now
            batch = self.place.sharded(jax.tree.map(lambda x: x[rows], data))
            (value, logs), gradient = jax.value_and_grad(loss, has_aux=True)(
                varied, batch, jax.random.fold_in(key, number), number
            )
            seen = judged(value, logs, gradient, self.batch_size, tolerant=self.tolerant)
            with jax.numpy_dtype_promotion("standard"):  # optax needs it, whatever the user has set
                updates, moments = self.optimiser.update(gradient, state.optimiser, varied)
            new = Point(optax.apply_updates(varied, self.guard.scaled(updates, state.guard)), moments)
            old = Point(varied, state.optimiser)
            point, own = self.guard.after(seen.failed, old, new, state.guard, number)
            logs = {"nfe": logs["nfe"], "metric": logs["metric"], "loss": value, **seen._asdict()}
            return (point.varied, Carried(point.optimiser, own)), logs

        numbers_of_steps = start + jnp.arange(len(indices), dtype=start.dtype)
        (varied, state), logs = jax.lax.scan(step, (varied, state), (indices, numbers_of_steps))
        return varied, state, logs


def carried_over(state: PyTree, fresh: PyTree) -> PyTree:
    """An optimiser's state for a solver with another number of steps.

    Moments of parameters that have a row for each step are resampled as the parameters are (`LearnedRK.resampled`), all
    others kept.

    Args:
        state: What was gathered so far.
        fresh: The state that the optimiser would begin with for the new solver.
    """

    def carry(new, old):
        return old if jnp.shape(new) == jnp.shape(old) else old[resampled_rows(len(old), len(new))]

    leaves, structure = jax.tree.flatten(fresh)
    return jax.tree.unflatten(structure, list(map(carry, leaves, jax.tree.leaves(state))))

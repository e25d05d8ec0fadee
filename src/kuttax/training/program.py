"""Program: several optimiser steps in one compiled call, for solvers with one structure."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from ..penalties.base import InTraining
from ..solvers.base.solver import AbstractSolver
from ..solvers.leaves import labels, trainable
from ..solvers.rk.learned import resampled_rows
from ..tasks.abilities import takes
from ..tasks.base import Task
from .guard import Point, guard_of, judged
from .optimiser import continued, optimiser
from .parallel import OneDevice, Placement
from .part import Part
from .settings import Settings


class Carried(NamedTuple):
    """The state passed between optimiser steps beside the weights: the optimiser's and the guard's."""

    optimiser: PyTree
    guard: Any


class Program:
    """The optimiser steps of a task with solvers of one structure, whatever their numbers; for any seed.

    Args:
        task: Data, model and loss.
        solver: A solver with this structure.
        settings: Training settings.
        penalty: Added to the loss; None for none.
        place: The devices.
        part: Where these steps stand in the whole training.
    """

    def __init__(
        self,
        task: Task,
        solver: AbstractSolver,
        settings: Settings,
        penalty: InTraining | None,
        place: Placement | None = None,
        part: Part | None = None,
    ):
        self.task, self.penalty, self.batch_size = task, penalty, settings.batch_size
        self.place, self.part = place or OneDevice(), part or Part(0, settings.train_steps)
        model = task.init(jax.random.key(0))
        self.mask = trainable((model, solver))
        varied, fixed = eqx.partition((model, solver), self.mask)
        self.static = eqx.partition(fixed, eqx.is_array)[1]
        self.optimiser = optimiser(settings, labels(varied))
        self.guard, self.tolerant = guard_of(settings), settings.on_failure != "raise"
        self.compile_seconds = 0.0
        self._compiled: dict[int, Callable[..., Any]] = {}

    def split(self, model: Any, solver: AbstractSolver) -> tuple[PyTree, PyTree]:
        """The trained leaves, and the numbers that are not trained."""
        varied, fixed = eqx.partition((model, solver), self.mask)
        return varied, eqx.filter(fixed, eqx.is_array)

    def join(self, varied: PyTree, numbers: PyTree) -> tuple[Any, AbstractSolver]:
        """Model and solver; the inverse of `split`."""
        return eqx.combine(varied, numbers, self.static)

    def begin(self, varied: PyTree, before: PyTree | None = None) -> Carried:
        """The passed state before the first step, after the optimiser's state at the end of the part before, if any."""
        state = self.optimiser.init(varied)
        state = state if before is None else continued(before, state)
        return Carried(state, self.guard.begin(Point(varied, state)))

    def carried(self, before: Carried, varied: PyTree) -> Carried:
        """The passed state after steps of another program, whose solver had another number of steps."""
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
        """The number of compiled programs."""
        return len(self._compiled)

    def loss(self, model: Any, solver: AbstractSolver, batch: PyTree, key, number) -> tuple[Any, dict[str, Any]]:
        """The task's loss and its logs at training step `number`, with that step's penalty weights."""
        options = {} if self.penalty is None else {"penalty": self.penalty.at(number)}
        if "progress" in takes(self.task):
            options["progress"] = (self.part.begin + number) / self.part.whole
        of_task: Any = self.task.loss
        return of_task(model, solver, batch, key, **options)

    def _steps(self, varied, state, numbers, data, indices, key, start):
        def loss(varied, batch, key, number):
            return self.loss(*self.join(varied, numbers), batch, key, number)

        def step(carry, now):
            (varied, state), (rows, number) = carry, now
            batch = self.place.sharded(jax.tree.map(lambda x: x[rows], data))
            (value, logs), gradient = jax.value_and_grad(loss, has_aux=True)(
                varied, batch, jax.random.fold_in(key, self.part.begin + number), number
            )
            seen = judged(value, logs, gradient, self.batch_size, tolerant=self.tolerant)
            with jax.numpy_dtype_promotion("standard"):  # optax needs it, whatever the user's setting
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

    Moments of parameters with a row for each step are resampled like the parameters (`LearnedRK.resampled`); all others
    are kept.

    Args:
        state: The state so far.
        fresh: The optimiser's initial state for the new solver.
    """

    def carry(new, old):
        return old if jnp.shape(new) == jnp.shape(old) else old[resampled_rows(len(old), len(new))]

    leaves, structure = jax.tree.flatten(fresh)
    return jax.tree.unflatten(structure, list(map(carry, leaves, jax.tree.leaves(state))))

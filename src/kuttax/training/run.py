"""Run: the weights, the optimiser's state and the batches of one seed, step by step."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..data.batches import BatchStream
from ..solvers.base import AbstractSolver, title
from ..solvers.solution import SolveError, Status
from .program import Program, carried_over


class TrainingError(RuntimeError):
    """Training cannot go on: the loss is not a number any more."""


class Run:
    """One training run.

    Args:
        program: The compiled steps to start with.
        model: Fresh weights.
        solver: To start with.
        stream: The order of the data.
        data: The training set.
        key: For what is random in the loss.

    Attributes:
        step: Optimiser steps taken.
        seconds: Spent in them: without compilation.
        step_ms: (step, milliseconds an optimiser step) of every dispatch.
        nfe_train: Evaluations of the field in all of them, times samples; forward passes alone.
    """

    def __init__(
        self, program: Program, model: Any, solver: AbstractSolver, stream: BatchStream, data: PyTree, key: jax.Array
    ):
        self.program, self.stream, self.key = program, stream, key
        self.data = jax.tree.map(jnp.asarray, data)
        varied, self.constants = program.split(model, solver)
        self.varied = jax.tree.map(jnp.array, varied)  # copies: every dispatch consumes what it is given
        self.state = program.optimiser.init(self.varied)
        self.step, self.seconds, self.nfe_train = 0, 0.0, 0.0
        self.step_ms: list[tuple[int, float]] = []

    @property
    def model(self) -> Any:
        """As it is now."""
        return self.program.join(self.varied, self.constants)[0]

    @property
    def solver(self) -> AbstractSolver:
        """As it is now."""
        return self.program.join(self.varied, self.constants)[1]

    @property
    def batch(self) -> PyTree:
        """The last batch that was trained on."""
        rows = self.stream.take(self.step - 1)[0]
        return jax.tree.map(lambda x: x[rows], self.data)

    def snapshot(self) -> PyTree:
        """A copy of what is trained, for `restored`."""
        return jax.tree.map(np.asarray, self.varied)

    def restored(self, snapshot: PyTree) -> tuple[Any, AbstractSolver]:
        """Model and solver as they were."""
        return self.program.join(jax.tree.map(jnp.asarray, snapshot), self.constants)

    def advance(self, count: int) -> dict[str, float]:
        """Take `count` optimiser steps; returns the means of loss, metric and NFE over them.

        Raises:
            TrainingError: The loss became NaN or infinite.
            SolveError: A solve failed.
        """
        given = (self.varied, self.state, self.constants, self.data)
        dispatch = self.program.compiled(count, *given, self.key)
        begin = time.perf_counter()
        indices = jnp.asarray(self.stream.take(self.step, count))
        result = dispatch(*given, indices, self.key, jnp.asarray(self.step))
        self.varied, self.state, logs = jax.block_until_ready(result)
        elapsed = time.perf_counter() - begin
        self.seconds += elapsed
        self.step_ms.append((self.step, 1e3 * elapsed / count))
        logs = {name: np.asarray(values, np.float64) for name, values in logs.items()}
        _check(logs, self.step, self.solver)
        self.step += count
        self.nfe_train += self.stream.batch_size * float(logs["nfe"].sum())
        return {name: float(logs[name].mean()) for name in ("loss", "metric", "nfe")}

    def turn(self, program: Program, solver: AbstractSolver) -> None:
        """Go on with another solver: the same scheme, with other steps or at another tolerance."""
        self.varied, self.constants = program.split(self.model, solver)
        if program is not self.program:
            self.program, self.state = program, carried_over(self.state, program.optimiser.init(self.varied))


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

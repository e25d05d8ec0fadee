"""Run: the weights, the optimiser's state and the batches of one seed, step by step."""

import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..data.batches import BatchStream
from ..io.checkpoints import SavedPart, restored
from ..solvers.base.solver import AbstractSolver, title
from .failure import Failures, Steps, refuse
from .part import Ended
from .program import Program
from .settings import Settings


class Run:
    """One training run.

    Args:
        program: The compiled steps at the start.
        settings: Training settings, which say how to treat failures.
        model: Fresh weights.
        solver: The solver at the start.
        stream: The order of the data.
        data: The training set.
        key: For random parts of the loss.
        before: The optimiser's state at the end of the part before; None for the first part.

    Attributes:
        step: Optimiser steps taken.
        seconds: Time in them: without compilation.
        step_ms: (step, milliseconds an optimiser step) of every dispatch.
        nfe_train: Evaluations of the field in all of them, times samples; only forward passes.
        failures: Their failures.
    """

    def __init__(
        self,
        program: Program,
        settings: Settings,
        model: Any,
        solver: AbstractSolver,
        stream: BatchStream,
        data: PyTree,
        key: jax.Array,
        before: PyTree | None = None,
    ):
        self.program, self.settings, self.stream = program, settings, stream
        self.place = program.place
        varied, constants = program.split(model, solver)
        varied = jax.device_put(varied, may_alias=False)  # a copy: every dispatch consumes its inputs
        state = program.begin(varied, before)
        self.varied, self.state, self.constants, self.data, self.key = self.place.replicated(
            (varied, state, constants, jax.tree.map(np.asarray, data), key)
        )
        self.step, self.seconds, self.nfe_train, self.failures = 0, 0.0, 0.0, Failures()
        self.step_ms: list[tuple[int, float]] = []

    @property
    def model(self) -> Any:
        """The current model."""
        return self.program.join(*self.place.local((self.varied, self.constants)))[0]

    @property
    def solver(self) -> AbstractSolver:
        """The current solver."""
        return self.program.join(*self.place.local((self.varied, self.constants)))[1]

    @property
    def batch(self) -> PyTree:
        """The last training batch."""
        rows = self.stream.take(self.step - 1)[0]
        return jax.tree.map(lambda x: x[rows], self.place.local(self.data))

    @property
    def ended(self) -> Ended:
        """The current model and the optimiser's state, for the next part of the training."""
        return Ended(self.model, jax.tree.map(np.asarray, self.place.local(self.state.optimiser)))

    def snapshot(self) -> PyTree:
        """A copy of the trained leaves, for `restored`."""
        return jax.tree.map(np.asarray, self.varied)

    def restored(self, snapshot: PyTree) -> tuple[Any, AbstractSolver]:
        """Model and solver at the snapshot."""
        return self.program.join(jax.device_put(snapshot), self.place.local(self.constants))

    def advance(self, count: int) -> dict[str, float]:
        """Take `count` optimiser steps; returns the means of loss, metric and NFE over those that did not fail.

        Raises:
            TrainingError: Steps failed, and the settings end training then; a `SolveError` if a solve failed.
        """
        given = (self.varied, self.state, self.constants, self.data)
        dispatch = self.program.compiled(count, *given, self.key)
        begin = time.perf_counter()
        indices = self.stream.take(self.step, count)
        order, step = self.place.replicated((indices, jnp.asarray(self.step)))
        result = dispatch(*given, order, self.key, step)
        self.varied, self.state, logs = jax.block_until_ready(result)
        elapsed = time.perf_counter() - begin
        self.seconds += elapsed
        self.step_ms.append((self.step, 1e3 * elapsed / count))
        logs = {name: np.asarray(values, np.float64) for name, values in logs.items()}
        steps = Steps(self.step, indices, logs, title(self.solver))
        self.failures = steps.counted(self.failures, self.program.guard.lr_scale(self.state.guard))
        refuse(steps, self.failures, self.settings, self.data)
        self.step += count
        self.nfe_train += self.stream.batch_size * float(logs["nfe"].sum())
        return {name: _mean(logs[name][~steps.failed]) for name in ("loss", "metric", "nfe")}

    def turn(self, program: Program, solver: AbstractSolver) -> None:
        """Continue with another solver: the same scheme, with other steps or at another tolerance."""
        varied, constants = program.split(self.model, solver)
        if program is not self.program:
            self.program, state = program, program.carried(self.place.local(self.state), varied)
            self.state = self.place.replicated(state)
        self.varied, self.constants = self.place.replicated((varied, constants))

    def weights(self) -> list[Any]:
        """A copy of all that training has changed, for `go_back`."""
        return [np.asarray(leaf) for leaf in jax.tree.leaves((self.varied, self.state, self.constants[1]))]

    def go_back(self, weights: Sequence[Any]) -> None:
        """Continue from weights that this run had with a solver of the present structure; its cost stays counted."""
        now = (self.varied, self.state, self.constants[1])
        self.varied, self.state, solver = self.place.replicated(restored(weights, now))
        self.constants = (self.constants[0], solver)

    def saved(self) -> SavedPart:
        """All that `restore` needs: a model's constants follow from the seed, a solver's may have changed."""
        plain = {
            "step": self.step,
            "seconds": self.seconds,
            "nfe_train": self.nfe_train,
            "failures": self.failures._asdict(),
            "step_ms": self.step_ms,
        }
        return SavedPart(plain, jax.tree.leaves((self.varied, self.state, self.constants[1])))

    def restore(self, saved: SavedPart) -> None:
        """Continue from there, bit for bit, with a solver of the same structure.

        Raises:
            UserError: The state belongs to other weights or another solver.
        """
        self.go_back(saved.arrays)
        plain = saved.plain
        self.step, self.seconds, self.nfe_train = plain["step"], plain["seconds"], plain["nfe_train"]
        self.failures = Failures(**plain["failures"])
        self.step_ms = [tuple(pair) for pair in plain["step_ms"]]


def _mean(values: np.ndarray) -> float:
    """The mean; NaN without values."""
    return float(values.mean()) if values.size else float("nan")

"""A task of labelled series whose model is solved by diffrax itself, for comparison."""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

import kuttax as kx
from kuttax.data.series.controls import Controls
from kuttax.nn.controlled import NeuralCDE, jumps
from kuttax.tasks import Controlled, Metric, Prediction
from kuttax.tasks.classification.task import accuracy

TOLERANCE = 1e-4
STAGES = 6  # evaluations of Tsit5 in a step: its last stage is the first of the next step


class ByDiffrax:
    """Data and models of a `Controlled` that classifies, solved by diffrax's Tsit5 with its default adjoint.

    The field is mapped over the batch inside one solve, as kuttax does it, or the solve over the samples, as in
    diffrax's example of a neural CDE. The steps end where dX/ds jumps.

    Args:
        task: The task.
        mapped: Whether every sample has a solve of its own.
    """

    def __init__(self, task: Controlled, *, mapped: bool):
        self.task, self.mapped = task, mapped
        self.name, self.interval, self.metric = task.name, task.interval, task.metric
        self.train, self.validation, self.test = task.train, task.validation, task.test

    metric: Metric

    def init(self, key: Array) -> NeuralCDE:
        """The models of the task."""
        return self.task.init(key)

    def loss(self, model: NeuralCDE, solver: Any, batch: Controls, key: Array) -> tuple[Array, dict[str, Array]]:
        """As of the task; `solver` is not used."""
        del solver, key
        logits, nfe, status = self._solved(model, batch)
        loss = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, batch.y))
        return loss, {"nfe": nfe, "metric": accuracy(logits, batch.y), "status": status}

    def predict(self, model: NeuralCDE, solver: Any, batch: Controls) -> Prediction:
        """As of the task; `solver` is not used."""
        loss, logs = self.loss(model, solver, batch, jax.random.key(0))
        logits, nfe, status = self._solved(model, batch)
        stats = kx.Stats(nfe, nfe, nfe, nfe)
        return Prediction(logits, logs["metric"], labels=batch.y, stats=stats, loss=loss, status=status)

    def _solved(self, model: NeuralCDE, batch: Controls) -> tuple[Array, Array, Array]:
        """Logits, evaluations of the field (the mean over samples), and zero or a status of failure."""
        start, rates = model.start(jnp.asarray(batch.start)), jnp.asarray(batch.rates)
        if self.mapped:
            end, steps, failed = jax.vmap(lambda z, rates: self._solve(model.field, z, rates))(start, rates)
        else:
            field = lambda s, z, rates: jax.vmap(model.field, in_axes=(None, 0, 0))(s, z, rates)
            end, steps, failed = self._solve(field, start, rates)
        status = jnp.any(failed).astype(jnp.int32)
        return jax.vmap(model.head)(end), STAGES * jnp.mean(steps.astype(jnp.float32)) + 1, status

    def _solve(self, field: Any, z: Array, rates: Array) -> tuple[Array, Array, Array]:
        windows, powers = rates.shape[-3:-1]
        controller: Any = diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE)
        if (inside := jumps(windows, powers)) is not None:
            controller = diffrax.ClipStepSizeController(controller, jump_ts=jnp.asarray(inside, z.dtype))
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            diffrax.Tsit5(),
            jnp.zeros((), z.dtype),
            jnp.asarray(windows, z.dtype),
            None,
            z,
            rates,
            stepsize_controller=controller,
            throw=False,
        )
        assert found.ys is not None
        return found.ys[0], found.stats["num_steps"], found.result != diffrax.RESULTS.successful

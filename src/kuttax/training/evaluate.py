"""Evaluation of a model and solver on a data set, and the time that prediction takes."""

import itertools
import math
import statistics
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..errors import UserError
from ..solvers.base.solution import SolveError, Stats, Status
from ..solvers.base.solver import AbstractSolver, title
from ..tasks.base import Task
from ..validity.prediction import Prediction, mean_nfe


class Evaluation(NamedTuple):
    """Means over a data set, each part weighted by its samples. Loss and NFE are NaN if not known.

    Attributes:
        nfe_diffusion: Evaluations of an SDE's diffusion (`nfe` counts those of its drift); None for an ODE.
    """

    metric: float
    loss: float
    nfe: float
    nfe_diffusion: float | None = None


_COUNTS = ("nfe", "nfe_diffusion")


@eqx.filter_jit
def predict(task: Task, model: Any, solver: AbstractSolver, batch: PyTree) -> Prediction:
    """The task's prediction, compiled once for each task, solver structure and batch shape."""
    return task.predict(model, solver, batch)


def evaluate(task: Task, model: Any, solver: AbstractSolver, data: PyTree, batch_size: int) -> Evaluation:
    """Predict a whole data set in parts of nearly equal size: of two shapes at most, so that few programs are compiled.

    Args:
        task, model, solver: The model and the solver, and their task.
        data: Samples along the first axis of each leaf.
        batch_size: The largest number of samples of a part.

    Raises:
        UserError: The data set is empty.
        SolveError: A solve failed.
    """
    samples = len(jax.tree.leaves(data)[0])
    if samples == 0:
        raise UserError(f"{task.name}: the data set to evaluate on is empty")
    weights, rows = [], []
    parts = math.ceil(samples / batch_size)
    for start, stop in itertools.pairwise(samples * i // parts for i in range(parts + 1)):
        batch = jax.tree.map(lambda x: x[start:stop], data)  # noqa: B023
        prediction = predict(task, model, solver, batch)
        status = Status.ok if prediction.status is None else Status(int(prediction.status))
        if status != Status.ok:
            raise SolveError(status, f"prediction with {title(solver)}: {status.message}")
        counts = [None if prediction.stats is None else getattr(prediction.stats, name) for name in _COUNTS]
        costs = [np.nan if count is None else float(np.mean(np.asarray(count))) for count in counts]
        loss = np.nan if prediction.loss is None else float(prediction.loss)
        rows.append([float(prediction.metric), loss, *costs])
        weights.append(stop - start)
    columns = np.array(rows).T
    means = [float(x) for x in np.average(columns, axis=1, weights=np.array(weights))]
    if task.metric.mean == "quadratic":
        means[0] = float(np.sqrt(np.average(columns[0] ** 2, weights=np.array(weights))))
    metric, loss, nfe, nfe_diffusion = means
    return Evaluation(metric, loss, nfe, None if np.isnan(nfe_diffusion) else nfe_diffusion)


def predict_parts(task: Task, model: Any, solver: AbstractSolver, parts: Sequence[PyTree]) -> Prediction:
    """The prediction of a data set in parts of equal size, so that one compiled program works for all.

    Metric and loss are the means over the parts, the status is the worst.
    """
    found = jax.device_get([predict(task, model, solver, part) for part in parts])  # NumPy needs no compilation
    join: Any = np.concatenate
    stack: Any = np.stack
    mean: Any = _quadratic_mean if task.metric.mean == "quadratic" else np.mean
    joined = lambda name: join([getattr(p, name) for p in found])
    stacked = lambda name: stack([getattr(p, name) for p in found])
    one = found[0]
    whole = Prediction(
        outputs=joined("outputs"),
        metric=mean(stacked("metric")),
        labels=None if one.labels is None else joined("labels"),
        stats=None if one.stats is None else Stats(stack([mean_nfe(p.stats) for p in found]), None, None, None),
        trajectory=None if one.trajectory is None else joined("trajectory"),
        loss=None if one.loss is None else stacked("loss").mean(),
        status=None if one.status is None else stacked("status").max(),
        nll=None if one.nll is None else joined("nll"),
        mask=None if one.mask is None else joined("mask"),
    )
    return jax.device_put(whole)


def _quadratic_mean(values: Any) -> Any:
    return np.sqrt(np.mean(values**2))


def prediction_ms(task: Task, model: Any, solver: AbstractSolver, data: PyTree, batch_size: int, repeats: int) -> float:
    """The median time in milliseconds to predict one batch, without compilation and transfer."""
    batch = jax.tree.map(lambda x: jnp.asarray(x[:batch_size]), data)
    dynamic, static = eqx.partition((model, solver), eqx.is_array)
    dynamic = jax.tree.map(jnp.asarray, dynamic)

    @jax.jit
    def run(dynamic, batch):
        model, solver = eqx.combine(dynamic, static)
        return task.predict(model, solver, batch).outputs

    jax.block_until_ready(run(dynamic, batch))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(run(dynamic, batch))
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)

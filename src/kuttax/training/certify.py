"""The certificate of a trained model on held-out data of its task."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree

from ..errors import UserError
from ..growth import GrowthRates
from ..solvers.base.solver import AbstractSolver
from ..tasks.abilities import HasGrowth
from ..tasks.base import Task
from ..validity import Certificate, certify
from .evaluate import predict_parts

MOST_SAMPLES = 1024
"""Default number of held-out samples of a certificate during a longer job."""


def certify_run(
    task: Task,
    model: Any,
    solver: AbstractSolver,
    data: PyTree,
    batch_size: int,
    samples: int | None = None,
    metric_tolerance: float = 0.01,
    output_tolerance: float = 0.05,
    max_step: float | None = None,
) -> Certificate:
    """`kuttax.validity.certify` for a model of a task.

    Args:
        task, model, solver: The trained model and solver, and their task.
        data: Held-out data: `task.validation` or `task.test`.
        batch_size: The largest number of samples solved together; the parts have equal size.
        samples: The largest number of samples, from the first on; None: all, except a remainder of fewer than the
            number of parts.
        metric_tolerance, output_tolerance, max_step: As for `certify`.

    Raises:
        UserError: There are no data, or `samples` is below one.
    """
    if samples is not None and samples < 1:
        raise UserError(f"samples must be >= 1, got {samples}")
    there = len(jax.tree.leaves(data)[0])
    if there == 0:
        raise UserError(f"{task.name}: there are no held-out data to certify on")
    count = there if samples is None else min(samples, there)
    parts = math.ceil(count / batch_size)
    size = count // parts
    cut = [jax.tree.map(lambda x: x[i * size : (i + 1) * size], data) for i in range(parts)]  # noqa: B023
    predict = lambda solver, parts: predict_parts(task, model, solver, parts)
    growth = None
    if isinstance(task, HasGrowth):
        rates = task.growth
        growth = lambda solver, parts: _growth(rates, model, solver, parts[0])
    return certify(
        predict,
        solver,
        cut,
        growth=growth,
        metric_tolerance=metric_tolerance,
        output_tolerance=output_tolerance,
        metric_scale=task.metric.scale,
        max_step=max_step,
    )


@eqx.filter_jit
def _growth(rates: Callable[..., GrowthRates], model: Any, solver: AbstractSolver, batch: PyTree) -> GrowthRates:
    """The task's growth rates, compiled."""
    return rates(model, solver, batch)

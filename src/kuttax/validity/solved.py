"""Solved: what one solver made of the batch, as plain numbers, or why it made nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from ..errors import UserError
from ..prediction import Prediction, mean_nfe
from ..solvers.base import AbstractSolver
from ..solvers.solution import Status

Predict = Callable[[AbstractSolver, Any], Prediction]
"""`predict(solver, batch)`: the model is closed over, the solver and the data are given."""

Loss = Callable[[AbstractSolver, Any], tuple[Any, PyTree]]
"""`loss(solver, batch) -> (value, gradient)`, as `jax.value_and_grad` gives them."""


@dataclass(frozen=True)
class Solved:
    """A prediction of n samples in float64.

    Attributes:
        outputs: Shape (n, k).
        dtype: In which the model computed them.
        metric: The mean over the batch, in its own unit.
        labels: Integers (n,), or None.
        nfe: Evaluations of the field, the mean over the samples; None where unknown.
        trajectory: Shape (n, times, d), or None.
        nll: Negative log-likelihoods (n,), or None.
    """

    outputs: np.ndarray
    dtype: np.dtype
    metric: float
    labels: np.ndarray | None
    nfe: float | None
    trajectory: np.ndarray | None
    nll: np.ndarray | None = None


def attempt(predict: Predict, solver: AbstractSolver, batch: Any) -> Solved | str:
    """The batch as this solver solves it, or one line on why there is no finite prediction for every sample.

    Raises:
        UserError: `predict` gives something that is no prediction of a batch.
    """
    try:
        prediction = jax.block_until_ready(predict(solver, batch))
    except RuntimeError as error:  # SolveError, and what a compiled program raises in its place
        return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    status = getattr(prediction, "status", None)
    failed = Status.ok if status is None else Status(int(np.max(np.asarray(status))))
    if failed != Status.ok:
        return failed.message
    solved = _checked(prediction)
    lost = int(np.sum(~np.isfinite(solved.outputs).all(axis=1)))
    if lost:
        return f"the outputs of {lost} of {len(solved.outputs)} samples are not finite"
    if not np.isfinite(solved.metric):
        return f"the metric is {solved.metric}"
    return solved


def _checked(prediction: Any) -> Solved:
    if not (hasattr(prediction, "outputs") and hasattr(prediction, "metric")):
        raise UserError(f"predict must return a kx.Prediction, got {type(prediction).__name__}")
    outputs, metric = np.asarray(prediction.outputs), np.asarray(prediction.metric)
    if outputs.ndim == 0:
        raise UserError("predict's outputs must have one row a sample, got a single number")
    if len(outputs) == 0:
        raise UserError("the batch is empty: give held-out samples to certify on")
    if metric.shape != ():
        raise UserError(f"predict's metric must be one number, the mean over the batch, got shape {metric.shape}")
    flat = outputs.reshape(len(outputs), -1).astype(np.float64)
    labels = None if prediction.labels is None else np.asarray(prediction.labels)
    if labels is not None and (labels.shape != (len(outputs),) or labels.dtype.kind not in "iub" or outputs.ndim > 2):
        raise UserError(
            f"labels must be integers (n,) beside outputs (n, classes), or (n,) of one logit, got {labels.dtype} "
            f"{labels.shape} beside {outputs.shape}; leave labels out where there are no classes"
        )
    dtype = outputs.dtype if outputs.dtype.kind == "f" else np.dtype(np.float32)
    nll = _nll(prediction, len(outputs))
    return Solved(flat, dtype, float(metric), labels, _nfe(prediction), _trajectory(prediction, len(outputs)), nll)


def _nll(prediction: Prediction, samples: int) -> np.ndarray | None:
    if prediction.nll is None:
        return None
    nll = np.asarray(prediction.nll, np.float64)
    if nll.shape != (samples,):
        raise UserError(f"nll must have shape ({samples},), one a sample, got {nll.shape}")
    return nll


def _nfe(prediction: Prediction) -> float | None:
    nfe = float(mean_nfe(prediction.stats))
    return nfe if np.isfinite(nfe) else None


def _trajectory(prediction: Prediction, samples: int) -> np.ndarray | None:
    if prediction.trajectory is None:
        return None
    trajectory = np.asarray(prediction.trajectory, np.float64)
    if trajectory.ndim != 3 or len(trajectory) != samples:
        raise UserError(f"trajectory must have shape ({samples}, times, d), got {trajectory.shape}")
    return trajectory


def gradient_of(loss: Loss, solver: AbstractSolver, batch: Any) -> np.ndarray | None:
    """The loss's gradient under this solver as one float64 vector; None where it is not finite or the solve fails.

    Raises:
        UserError: `loss` does not return (value, gradient).
    """
    try:
        result = jax.block_until_ready(loss(solver, batch))
    except RuntimeError:
        return None
    if not isinstance(result, tuple) or len(result) != 2:
        raise UserError(
            "loss(solver, batch) must return (value, gradient), as jax.value_and_grad does of the parameters, got "
            f"{type(result).__name__}"
        )
    leaves = [np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(result[1])]
    gradient = np.concatenate(leaves) if leaves else np.zeros(0)
    return gradient if gradient.size and np.isfinite(gradient).all() else None

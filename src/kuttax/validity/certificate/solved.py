"""Solved: one solver's prediction of the batch as plain numbers, or the reason why there is none."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from ...errors import UserError
from ...solvers.base.solution import Status
from ...solvers.base.solver import AbstractSolver
from ..prediction import Prediction, mean_nfe
from .spread import deviations, without_common_shift

Predict = Callable[[AbstractSolver, Any], Prediction]
"""`predict(solver, batch)`: it closes over the model."""

Loss = Callable[[AbstractSolver, Any], tuple[Any, PyTree]]
"""`loss(solver, batch) -> (value, gradient)`, as from `jax.value_and_grad`."""


@dataclass(frozen=True)
class Solved:
    """A prediction of n samples in float64.

    Attributes:
        outputs: Shape (n, ..., k): the last axis counts components. Zero where `mask` is false.
        dtype: The dtype in which the model computed them.
        metric: The mean over the batch, in its own unit.
        labels: Integers (n,), or None.
        nfe: Evaluations of the field, the mean over the samples; None where unknown.
        trajectory: Shape (n, times, d), or None.
        nll: Negative log-likelihoods (n,), or None.
        mask: Which outputs count, of their shape; None for all.
    """

    outputs: np.ndarray
    dtype: np.dtype
    metric: float
    labels: np.ndarray | None
    nfe: float | None
    trajectory: np.ndarray | None
    nll: np.ndarray | None = None
    mask: np.ndarray | None = None

    @property
    def compared(self) -> np.ndarray:
        """The outputs for comparison: logits without the shift that all classes of a sample share."""
        return self.outputs if self.labels is None else without_common_shift(self.outputs)


def attempt(predict: Predict, solver: AbstractSolver, batch: Any) -> Solved | str:
    """This solver's prediction of the batch, or one line on why it is not finite for every sample.

    Raises:
        UserError: `predict` returns something that is not a prediction of a batch.
    """
    try:
        prediction = jax.block_until_ready(predict(solver, batch))
    except RuntimeError as error:  # SolveError, or the error of a compiled program in its place
        return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    _check(prediction)
    status = prediction.status
    failed = Status.ok if status is None else Status(int(np.max(np.asarray(status))))
    if failed != Status.ok:
        return failed.message
    found = solved(prediction)
    lost = int(np.sum(~np.isfinite(found.outputs.reshape(len(found.outputs), -1)).all(axis=1)))
    if lost:
        return f"the outputs of {lost} of {len(found.outputs)} samples are not finite"
    if not np.isfinite(found.metric):
        return f"the metric is {found.metric}"
    return found


def solved(prediction: Any) -> Solved:
    """A prediction as plain numbers, finite or not.

    Raises:
        UserError: It is not a prediction of a batch.
    """
    _check(prediction)
    outputs, metric = np.asarray(prediction.outputs), np.asarray(prediction.metric)
    if outputs.ndim == 0:
        raise UserError("predict's outputs must have one row a sample, got a single number")
    if len(outputs) == 0:
        raise UserError("the batch is empty: give held-out samples to certify on")
    if metric.shape != ():
        raise UserError(f"predict's metric must be one number, the mean over the batch, got shape {metric.shape}")
    dtype = outputs.dtype if outputs.dtype.kind == "f" else np.dtype(np.float32)
    mask = _mask(prediction, outputs)
    values = outputs.astype(np.float64) if mask is None else np.where(mask, outputs, 0).astype(np.float64)
    if outputs.ndim == 1:
        values, mask = values[:, None], None if mask is None else mask[:, None]
    labels = None if prediction.labels is None else np.asarray(prediction.labels)
    if labels is not None and (labels.shape != (len(outputs),) or labels.dtype.kind not in "iub" or outputs.ndim > 2):
        raise UserError(
            f"labels must be integers (n,) beside outputs (n, classes), or (n,) of one logit, got {labels.dtype} "
            f"{labels.shape} beside {outputs.shape}; leave labels out where there are no classes"
        )
    nll, trajectory = _nll(prediction, len(outputs)), _trajectory(prediction, len(outputs))
    return Solved(values, dtype, float(metric), labels, _nfe(prediction), trajectory, nll, mask)


def sample_deviations(a: Solved, b: Solved, scales: np.ndarray) -> np.ndarray:
    """The deviation between each sample's outputs, and its negative log-likelihoods, (n,).

    Args:
        a, b: Predictions of the same samples.
        scales: Scales of the outputs' components. A log-likelihood has its own scale: 1, in its unit.
    """
    found = deviations(a.compared, b.compared, scales, a.mask)
    return found if a.nll is None or b.nll is None else np.maximum(found, np.abs(a.nll - b.nll))


def _check(prediction: Any) -> None:
    if not isinstance(prediction, Prediction):
        raise UserError(f"predict must return a kx.Prediction, got {type(prediction).__name__}")


def _mask(prediction: Prediction, outputs: np.ndarray) -> np.ndarray | None:
    if prediction.mask is None:
        return None
    mask = np.asarray(prediction.mask)
    if mask.shape != outputs.shape or mask.dtype != bool:
        raise UserError(
            f"mask must be of booleans of the outputs' shape {outputs.shape}, got {mask.dtype} {mask.shape}"
        )
    if prediction.labels is not None:
        raise UserError("mask is for outputs without classes: leave samples without a label out of the batch")
    return mask


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
    """The loss's gradient under this solver as one float64 vector; None if it is not finite or the solve fails.

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

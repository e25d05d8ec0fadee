"""Failures of optimiser steps: how they are counted, when they are too many, and how training then ends."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from ..solvers.base.solution import SolveError, Status
from .settings import Settings

_MOST_ROLLBACKS = 10  # at the default factor the learning rate is then a thousandth
_SHOWN = 6  # number of sample indices in a message


class TrainingError(RuntimeError):
    """Training cannot continue.

    Attributes:
        step: The optimiser step that failed, counted from 1.
        samples: The rows of the training data that it failed on: those of its batch, or the ones among them that caused
            it.
    """

    def __init__(self, message: str, step: int = 0, samples: Any = ()):
        RuntimeError.__init__(self, message)
        self.step, self.samples = step, np.asarray(samples, int)


class UnsolvedError(TrainingError, SolveError):
    """Training cannot continue because a solve did not reach its end. `status` gives the cause."""

    def __init__(self, status: Status, message: str, step: int = 0, samples: Any = ()):
        TrainingError.__init__(self, message, step, samples)
        self.status = status


class Failures(NamedTuple):
    """All failures of a run so far.

    Attributes:
        steps: Optimiser steps without an update: skipped, or rolled back.
        samples: Single samples left out of batches that were used.
        lr_scale: The factor on the learning rate after rollbacks.
    """

    steps: int = 0
    samples: int = 0
    lr_scale: float = 1.0

    def describe(self, settings: Settings) -> str | None:
        """A summary in one line; None without failures."""
        if not (self.steps or self.samples):
            return None
        done = "rolled back" if settings.on_failure == "rollback" else "skipped"
        rate = f", the learning rate ended at {self.lr_scale:.3g} of its schedule" if self.lr_scale != 1 else ""
        lost = f"; {self.samples} samples lost from other batches" if self.samples else ""
        return f"failures: {self.steps} optimiser steps {done}{rate}{lost}"


class Steps(NamedTuple):
    """The logs of the optimiser steps of one dispatch.

    Attributes:
        first: The number of optimiser steps before them.
        indices: Rows of the training data, (steps, batch).
        logs: From the compiled program, each with a leading axis of steps.
        solver: The solver's name.
    """

    first: int
    indices: np.ndarray
    logs: dict[str, np.ndarray]
    solver: str

    @property
    def failed(self) -> np.ndarray:
        """Which of the steps failed, (steps,)."""
        return self.logs["failed"].astype(bool)

    def counted(self, before: Failures, lr_scale: float) -> Failures:
        """`before`, plus the failures of these steps."""
        lost = self.logs["lost"][~self.failed].sum()
        return Failures(before.steps + int(self.failed.sum()), before.samples + int(lost), lr_scale)

    def error(self, n: int, data: PyTree) -> TrainingError:
        """The error for the n-th of them, a failed one."""
        step, rows = self.first + n + 1, self.indices[n]
        status = np.asarray(self.logs["status"][n], int)
        if status.any():
            each = status.shape == rows.shape
            samples, worst = rows[status > 0] if each else rows, Status(int(status.max()))
            text = f"training step {step} with {self.solver}, {_said(samples, of_batch=not each)}: {worst.message}"
            return UnsolvedError(worst, text + _mend(_spoilt(data, samples)), step, samples)
        spoilt = _spoilt(data, rows)
        samples = spoilt if spoilt.size else rows
        loss = float(self.logs["loss"][n])
        what = f"the loss became {loss}"
        if np.isfinite(loss):
            what = f"the loss is {loss:.4g}, but its gradient overflowed or is NaN,"
        text = f"{what} at training step {step} with {self.solver}, {_said(samples, of_batch=not spoilt.size)}"
        mend = _mend(spoilt) or ": lower --lr, or look for extreme values in the data"
        return TrainingError(text + mend, step, samples)


def refuse(steps: Steps, failures: Failures, settings: Settings, data: PyTree) -> None:
    """End training if the policy requires it: at the first failure, or at too many.

    Args:
        steps: The last steps.
        failures: All so far.
        settings: The policy.
        data: The training data, to find the cause.

    Raises:
        TrainingError: Training ends.
        UnsolvedError: Training ends because a solve failed; also a `SolveError`.
    """
    failed = np.flatnonzero(steps.failed)
    if settings.on_failure == "raise":
        if failed.size:
            raise steps.error(int(failed[0]), data)
        return
    lost = failures.steps * settings.batch_size + failures.samples
    allowed = max(1.0, settings.most_failures * settings.train_steps) * settings.batch_size
    many = settings.on_failure == "rollback" and failures.steps > _MOST_ROLLBACKS
    if not (lost > allowed or many):
        return
    reason = f"after {failures.steps} failed steps and {failures.samples} lost samples training is given up"
    if not failed.size:
        raise TrainingError(f"{reason}: look for what fails with --on-failure raise", steps.first + len(steps.failed))
    last = steps.error(int(failed[-1]), data)
    last.args = (f"{reason}; the last: {last}",)
    raise last


def _spoilt(data: PyTree, rows: np.ndarray) -> np.ndarray:
    """The rows, among the given ones, of the training data that contain NaN or infinite values."""
    bad = np.zeros(len(rows), bool)
    for leaf in jax.tree.leaves(data):
        values = np.asarray(leaf)[rows]
        if np.issubdtype(values.dtype, np.inexact):
            bad |= ~np.isfinite(values.reshape(len(rows), -1)).all(axis=1)
    return rows[bad]


def _mend(spoilt: np.ndarray) -> str:
    """The likely cause if the data contain such values; empty otherwise."""
    if not spoilt.size:
        return ""
    which = _said(spoilt)
    return f"; the data of {which} hold NaN or infinite values: mend or drop them, or give --on-failure skip"


def _said(samples: np.ndarray, *, of_batch: bool = False) -> str:
    """Sample indices as text, at most a few."""
    shown = " ".join(map(str, samples[:_SHOWN])) + (" ..." if len(samples) > _SHOWN else "")
    if of_batch:
        return f"batch of {len(samples)} samples ({shown})"
    return f"sample {shown}" if len(samples) == 1 else f"{len(samples)} samples ({shown})"

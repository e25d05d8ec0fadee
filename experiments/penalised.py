"""Penalised: the penalties of Pal et al. (ICML 2023) and its peers as rows of a table, and MNIST in float64."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

import kuttax as kx
from kuttax.data import Dataset
from kuttax.tasks.classification.task import Classification

DECAY = 2.5
"""Weights end at this part of their start, as in the paper (2.5 to 1.0)."""


@dataclass(frozen=True)
class Method:
    """One row of the table: a penalty, and the weights that the search tries."""

    label: str
    penalty: Callable[[float], Any] | None = None
    weights: tuple[float, ...] = (0.0,)
    first_step: float | None = None  # of the solver; None for Hairer's heuristic

    @property
    def local(self) -> bool:
        """Whether its penalty looks at one step."""
        return self.penalty is not None and isinstance(self.penalty(1.0).terms[0][1], kx.LocalError)


def weighted(penalty: Any) -> Callable[[float], Any]:
    """A weight -> the penalty times it."""
    return lambda weight: weight * penalty


def released(sampling: Any) -> kx.LocalError:
    """The penalty as the paper's code has it: Hairer's first step, its first slope a constant."""
    return kx.LocalError(sampling, size="initial", transform="scaled", through="stages")


def at_solver_step(sampling: Any) -> kx.LocalError:
    """E |h| of the step that the solver took at the drawn time, and its whole gradient: the paper's estimator."""
    return kx.LocalError(sampling, size="solver", transform="scaled")


METHODS = {
    "vanilla": Method("vanilla"),
    "steer": Method("STEER", lambda width: 1.0 * kx.penalties.Steer(width), (0.125, 0.25, 0.5)),
    "taylor": Method("TayNODE, K = 2", weighted(kx.penalties.Taylor(2)), (1e-4, 1e-3, 1e-2, 1e-1)),
    "global-error": Method("ERNODE", weighted(kx.GlobalError()), (0.1, 1.0, 10.0, 100.0)),
    "global-stiffness": Method("SRNODE", weighted(kx.GlobalStiffness()), (0.03, 0.3, 3.0)),
    "released-unbiased": Method("local, unbiased, as released", weighted(released("unbiased")), (1.0, 1e1, 1e2, 1e3)),
    "released-biased": Method("local, biased, as released", weighted(released("biased")), (1.0, 1e1, 1e2, 1e3)),
    "solver-unbiased": Method(
        "local, unbiased, the solver's step", weighted(at_solver_step("unbiased")), (1.0, 10.0, 100.0)
    ),
    "solver-biased": Method("local, biased, the solver's step", weighted(at_solver_step("biased")), (1.0, 10.0, 100.0)),
    "global-error-1": Method("ERNODE, first step T", weighted(kx.GlobalError()), (0.1, 1.0, 10.0), 1.0),
    "stages-1": Method(
        "log(1 + E) at h = T, first slope constant",
        weighted(kx.LocalError(steps=1, through="stages")),
        (0.1, 1.0, 10.0),
    ),
    "budget-2": Method("ours: log(1 + E) at h = T/2", weighted(kx.LocalError(steps=2)), (0.01, 0.1, 1.0), 0.5),
    "budget-1": Method("ours: log(1 + E) at h = T", weighted(kx.LocalError(steps=1)), (0.01, 0.1, 1.0), 1.0),
}


class Float64(Classification):
    """A task with float64 data: field and head compute in the dtype of what they are given."""

    def _prepare(self, part: str, dataset: Dataset) -> Dataset:
        x, y = super()._prepare(part, dataset)
        return Dataset(x.astype(np.float64), y)


def doubled(task: Classification) -> Float64:
    """The task with float64 data."""
    return Float64(**{field.name: getattr(task, field.name) for field in fields(task) if field.init})

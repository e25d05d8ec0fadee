"""Controlled: classes or numbers from irregular time series, by a neural controlled differential equation."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from ...data.series.controls import Controls, PathKind, controls, increment_length
from ...data.series.labelled import Labelled, LabelledSplits, check_labelled, lengths
from ...data.series.paths import PathScaling
from ...errors import UserError
from ...nn.controlled import NeuralCDE, jumps
from ...nn.fields.controlled import ControlledField
from ...penalties.base import Penalties
from ...solvers.base.solution import Solution
from ...solvers.base.solver import AbstractSolver
from ...solvers.rk.adaptive.adaptive import Adaptive
from ...solvers.rk.tableaus import TSIT5
from ...validity.prediction import Prediction, mean_nfe
from ..abilities import LossOption
from ..base import Metric, Trajectories
from ..classification.task import accuracy, is_correct
from ..reached import mean_over_reached, zero_where_lost

MOST_WINDOWS = 16
"""The largest number of windows that is chosen without a request."""


@dataclass(frozen=True, eq=False)
class Controlled:
    """A neural controlled differential equation from series to classes or numbers, float32.

    Kidger, Morrill, Foster & Lyons (NeurIPS 2020, arXiv 2005.08926): each series becomes a path X, and the state
    follows dz/ds = f(z) dX/ds. Classes are learned by cross-entropy, numbers by their mean squared error in standard
    deviations of the training numbers.

    A path has `windows` windows, whatever the times and the length of its series. On a linear path a fixed-step solver
    takes its steps in each window; on a cubic one over the whole path. The reported NFE is that of the whole path.

    Attributes:
        name: Its name in records and tables.
        parts: The series.
        path: How the path passes through the ends of the windows: "linear", or "cubic" with a continuous derivative.
        windows: The number of windows of each path; None for as many as the longest training series has intervals, at
            most 16.
        log_signature: For a linear path: 1 if the field sees the increment of each window, 2 for its log-signature of
            depth two (Morrill et al., ICML 2021, arXiv 2009.08295).
        counts: Whether the path has the numbers of observations so far, beside time and values.
        state: Entries of the state z.
        width, depth: Hidden units and layers of f.
        adjoint: For `kuttax.solve`; None for its default.
        max_steps: The largest number of steps that an adaptive solver may try.
        train, validation, test: The paths.

    Raises:
        UserError: An option is out of its range, or the data are invalid.
    """

    loss_options: ClassVar[tuple[LossOption, ...]] = ("penalty", "progress")

    name: str
    parts: LabelledSplits
    path: PathKind = "linear"
    windows: int | None = None
    log_signature: int = 1
    counts: bool = False
    state: int = 32
    width: int = 64
    depth: int = 1
    adjoint: Any = None
    max_steps: int = 1024
    train: Controls = field(init=False)
    validation: Controls = field(init=False)
    test: Controls = field(init=False)

    def __post_init__(self):
        check_options(self)
        put = lambda name, value: object.__setattr__(self, name, value)
        parts = {part: check_labelled(f"{self.name}, {part}", getattr(self.parts, part)) for part in _PARTS}
        longest = int(lengths(parts["train"]).max())
        windows = max(1, min(longest - 1, MOST_WINDOWS)) if self.windows is None else self.windows
        put("windows", windows)
        scaling, mean, std = PathScaling.of(parts["train"]), *self._units(parts["train"])
        unit = increment_length(parts["train"], scaling, windows, counts=self.counts)
        kind = {"path": self.path, "log_signature": self.log_signature, "counts": self.counts, "unit": unit}
        for part, data in parts.items():
            y = data.y if self.classifies else (data.y - mean) / std
            put(part, controls(data._replace(y=y), scaling, windows, **kind))

    def _units(self, train: Labelled) -> tuple[float, float]:
        """The mean and the standard deviation of the training numbers."""
        return float(np.mean(train.y)), float(np.std(train.y)) or 1.0

    @property
    def summary(self) -> str:
        """What a user's data were understood as."""
        return self.parts.summary

    @property
    def classifies(self) -> bool:
        """Whether the labels are classes."""
        return self.parts.classes is not None

    @property
    def interval(self) -> tuple[float, float]:
        """One window of a linear path; the whole of a cubic one."""
        return 0.0, float(self.train.rates.shape[1] // self.intervals)

    @property
    def intervals(self) -> int:
        """The number of intervals in which a fixed-step solver takes its steps."""
        inside = jumps(*self.train.rates.shape[1:3])
        return 1 if inside is None else len(inside) + 1

    @property
    def metric(self) -> Metric:
        """Accuracy in percent; for numbers, the root mean square error in standard deviations."""
        if self.classifies:
            return Metric("accuracy", higher_is_better=True, unit="%")
        return Metric("rmse", higher_is_better=False, unit="sd", mean="quadratic")

    def init(self, key: PRNGKeyArray) -> NeuralCDE:
        """A model with fresh float32 weights."""
        points, channels = self.train.start.shape[1], self.train.rates.shape[3]
        outputs = len(self.parts.classes) if self.parts.classes is not None else 1
        return NeuralCDE(points, channels, outputs, self.state, self.width, self.depth, key=key)

    def loss(
        self,
        model: NeuralCDE,
        solver: AbstractSolver,
        batch: Controls,
        key: PRNGKeyArray,
        penalty: Penalties | None = None,
        progress: Any = 1.0,
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """Mean cross-entropy of a batch, or mean squared error, and the penalty.

        Logs "nfe" (of the whole path), "metric" and "status". If every sample has its own steps, loss and metric are
        those of the series that reached their end.
        """
        del progress
        found, solution = self._solved(model, solver, batch, penalty=penalty, key=key)
        status, outputs = solution.status, zero_where_lost(found, solution.status)
        losses = self._losses(outputs, batch)
        loss = mean_over_reached(losses, status)
        right = 100.0 * mean_over_reached(is_correct(outputs, batch.y), status) if self.classifies else jnp.sqrt(loss)
        log = {"nfe": mean_nfe(solution.stats), "metric": right, "status": status}
        return loss + solution.penalty, log

    def predict(self, model: NeuralCDE, solver: AbstractSolver, batch: Controls) -> Prediction:
        """Logits `(n, classes)`, or numbers in standard deviations from the mean, `(n, 1)`."""
        outputs, solution = self._solved(model, solver, batch)
        loss = jnp.mean(self._losses(outputs, batch))
        return Prediction(
            outputs=outputs,
            metric=accuracy(outputs, jnp.asarray(batch.y)) if self.classifies else jnp.sqrt(loss),
            loss=loss,
            labels=batch.y if self.classifies else None,
            stats=solution.stats,
            status=jnp.max(solution.status),
        )

    def trajectories(self, model: NeuralCDE, batch: Controls) -> Trajectories:
        """The initial value problems of a solver: one window of each series' linear path, or the whole of a cubic one.

        The series take the windows in turn. The state is the pair of z and the path's rates, which do not change: so
        one field serves all series.
        """
        rates, driven = jnp.asarray(batch.rates), Driven(model.field)
        start = model.start(jnp.asarray(batch.start))
        if self.intervals == 1:
            return Trajectories(driven, (start, rates), *self.interval)
        turn = np.arange(len(rates)) % self.intervals
        times = np.arange(float(self.intervals))
        options = {"ts": times, "max_steps": self.max_steps}
        path = model.cross(Adaptive(TSIT5, 1e-6, 1e-6), batch.start, rates, **options).ys
        own = rates[np.arange(len(rates)), turn][:, None]
        return Trajectories(driven, (path[turn, np.arange(len(rates))], own), *self.interval)

    def _solved(
        self, model: NeuralCDE, solver: AbstractSolver, batch: Controls, **asked: Any
    ) -> tuple[Float[Array, "n outputs"], Solution]:
        options = {"adjoint": self.adjoint, "max_steps": self.max_steps, "throw": False, **asked}
        return model(solver, batch.start, batch.rates, **options)

    def _losses(self, outputs: Float[Array, "n outputs"], batch: Controls) -> Float[Array, " n"]:
        """The cross-entropy or the squared error of each series."""
        y = jnp.asarray(batch.y)
        if self.classifies:
            return optax.softmax_cross_entropy_with_integer_labels(outputs, y)
        return (outputs[:, 0] - y.astype(outputs.dtype)) ** 2


class Driven(eqx.Module):
    """A controlled field as a field of the pair of the state and the path's rates, which stay as they are."""

    field: ControlledField

    def __call__(self, s: Any, pair: tuple[Array, Array], args: Any = None) -> tuple[Array, Array]:
        del args
        z, rates = pair
        return self.field(s, z, rates), jnp.zeros_like(rates)


_PARTS = ("train", "validation", "test")


def check_options(options: Any) -> None:
    """Refuses invalid numbers of a `Controlled`.

    Raises:
        UserError: One is out of its range.
    """
    least = {"windows": 1, "state": 1, "width": 1, "depth": 0, "max_steps": 1}
    for option, bound in least.items():
        value = getattr(options, option)
        if value is not None and not value >= bound:
            raise UserError(f"{options.name}: {option} must be >= {bound}, got {value}")
    if options.path not in ("linear", "cubic"):
        raise UserError(f"{options.name}: unknown path {options.path!r}; known: linear, cubic")
    if options.log_signature not in (1, 2):
        raise UserError(f"{options.name}: log_signature must be 1 or 2, got {options.log_signature}")

"""Classification of images or feature vectors by a neural ODE."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ...data.dataset import Dataset, check_dataset
from ...data.splits import Splits
from ...errors import UserError
from ...nn.classifier import NeuralODEClassifier
from ...nn.fields.conv1d import Conv1dField
from ...nn.fields.conv2d import ConvField
from ...nn.fields.mlp import MLPField
from ...penalties.base import Penalties
from ...solvers.base.solution import Solution
from ...solvers.base.solver import AbstractSolver
from ...validity.prediction import Prediction, mean_nfe
from ..abilities import LossOption
from ..base import Metric, Trajectories
from ..reached import mean_over_reached, zero_where_lost

FieldKind = Literal["mlp", "conv", "conv1d", "bottleneck"]

_FIELDS = {
    "mlp": MLPField,
    "conv": ConvField,
    "conv1d": Conv1dField,
    "bottleneck": functools.partial(ConvField, bottleneck=True),
}
_OVER_IMAGES = ("conv", "bottleneck")


@dataclass(frozen=True, eq=False)
class Classification:
    """A neural ODE from the inputs to classes: cross-entropy, accuracy, float32.

    Attributes:
        name: Its name in records and tables.
        splits: The data, inputs `(n, features)` or `(n, channels, height, width)` and integer classes from 0.
        field: "mlp" and "conv1d" (along the coordinates) flatten the inputs; "conv" (3x3) and "bottleneck" (1x1, 3x3,
            1x1; Ott et al., ICLR 2021) need images.
        width: Hidden units of the MLP, hidden channels of a convolutional field.
        depth: Number of hidden layers.
        time_dependent: Whether the field sees the time.
        augmented: Zeros appended to the features ("mlp") or channels ("conv", "bottleneck").
        interval: The time interval of the solve.
        he_head: The head's initial weights, see `NeuralODEClassifier`.
        adjoint: For `kuttax.solve`; None for its default.
        max_steps: The largest number of steps that an adaptive solver may try; it sets the buffer size of a reverse
            pass.

    Raises:
        UserError: An option is out of range or does not fit the data.
    """

    loss_options: ClassVar[tuple[LossOption, ...]] = ("penalty",)

    name: str
    splits: Splits
    field: FieldKind = "mlp"
    width: int = 100
    depth: int = 1
    time_dependent: bool = True
    augmented: int = 0
    interval: tuple[float, float] = (0.0, 1.0)
    he_head: bool = False
    adjoint: Any = None
    max_steps: int = 256

    def __post_init__(self):
        check_sizes(self.name, width=self.width, depth=self.depth, augmented=self.augmented, max_steps=self.max_steps)
        if self.field not in _FIELDS:
            raise UserError(f"{self.name}: unknown field {self.field!r}; known: {', '.join(_FIELDS)}")
        if self.field == "bottleneck" and self.depth < 2:
            raise UserError(f"{self.name}: a bottleneck field needs depth >= 2, got {self.depth}")
        object.__setattr__(self, "splits", Splits(*map(self._prepare, Splits._fields, self.splits)))

    def _prepare(self, part: str, dataset: Dataset) -> Dataset:
        """The part in the field's form: checked, float32, flat for an MLP."""
        x, y = check_dataset(f"{self.name}, {part}", dataset)
        if self.field in _OVER_IMAGES and x.ndim != 4:
            raise UserError(
                f"{self.name}: a {self.field} field needs images (n, channels, height, width), got {x.shape}; use mlp"
            )
        if y.ndim != 1 or y.dtype.kind not in "iu":
            raise UserError(f"{self.name}, {part}: y must be integers of shape (n,), got {y.dtype} {y.shape}")
        if y.min() < 0:
            raise UserError(f"{self.name}, {part}: classes count from 0, got {y.min()} in row {y.argmin()}")
        x = x if self.field in _OVER_IMAGES else x.reshape(len(x), -1)
        return Dataset(x.astype("float32"), y.astype("int32"))

    @property
    def metric(self) -> Metric:
        """Accuracy, in percent."""
        return Metric("accuracy", higher_is_better=True, unit="%")

    @property
    def train(self) -> Dataset:
        """The training set, in the field's form."""
        return self.splits.train

    @property
    def validation(self) -> Dataset:
        """The validation set, in the field's form."""
        return self.splits.validation

    @property
    def test(self) -> Dataset:
        """The test set, in the field's form."""
        return self.splits.test

    @property
    def classes(self) -> int:
        """The number of classes: one more than the highest class in any part."""
        return 1 + max(int(part.y.max()) for part in self.splits)

    def init(self, key: PRNGKeyArray) -> NeuralODEClassifier:
        """A model with fresh float32 weights."""
        field_key, head_key = jax.random.split(key)
        shape = self.train.x.shape[1:]
        field = _FIELDS[self.field](
            shape[0] + self.augmented, self.width, self.depth, key=field_key, time_dependent=self.time_dependent
        )
        return NeuralODEClassifier(
            field,
            shape,
            self.classes,
            key=head_key,
            augmented=self.augmented,
            interval=self.interval,
            he_head=self.he_head,
        )

    def loss(
        self,
        model: NeuralODEClassifier,
        solver: AbstractSolver,
        batch: Dataset,
        key: PRNGKeyArray,
        penalty: Penalties | None = None,
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """Mean cross-entropy of a batch, and the penalty; logs "nfe" (mean over samples), "metric" and "status".

        If every sample has its own steps, loss and metric are those of the samples that reached the end.
        """
        prediction, solution = self._predict(model, solver, batch, penalty=penalty, key=key)
        status, logits = solution.status, zero_where_lost(prediction.outputs, solution.status)
        losses, correct = optax.softmax_cross_entropy_with_integer_labels(logits, batch.y), is_correct(logits, batch.y)
        metric = 100.0 * mean_over_reached(correct, status)
        log = {"nfe": mean_nfe(prediction.stats), "metric": metric, "status": status}
        return mean_over_reached(losses, status) + solution.penalty, log

    def predict(self, model: NeuralODEClassifier, solver: AbstractSolver, batch: Dataset) -> Prediction:
        """Logits `(n, classes)`, accuracy in percent, mean cross-entropy."""
        return self._predict(model, solver, batch)[0]

    def program(self, model: NeuralODEClassifier, solver: AbstractSolver) -> tuple[Callable[[Array], Array], Array]:
        """The logits of samples; they are scaled as the task's data are."""
        logits = lambda x: model(solver, x, max_steps=self.max_steps, throw=False)[0]
        return logits, jnp.asarray(self.test.x[:1])

    def trajectories(self, model: NeuralODEClassifier, batch: Dataset) -> Trajectories:
        """The initial value problems behind a batch's predictions."""
        return Trajectories(model.field, model.start(jnp.asarray(batch.x)), *model.interval)

    def _predict(
        self, model: NeuralODEClassifier, solver: AbstractSolver, batch: Dataset, **asked: Any
    ) -> tuple[Prediction, Solution]:
        """The prediction, and the solution, with a penalty if there is one."""
        options = {"adjoint": self.adjoint, "max_steps": self.max_steps, "throw": False, **asked}
        logits, solution = model(solver, batch.x, **options)
        prediction = Prediction(
            outputs=logits,
            metric=accuracy(logits, batch.y),
            loss=cross_entropy(logits, batch.y),
            labels=batch.y,
            stats=solution.stats,
            status=jnp.max(solution.status),
        )
        return prediction, solution


def check_sizes(name: str, **sizes: int) -> None:
    """Refuses invalid sizes of a model.

    Raises:
        UserError: A size is below its least value.
    """
    least = {"width": 1, "depth": 0, "augmented": 0, "max_steps": 1}
    for option, size in sizes.items():
        if size < least[option]:
            raise UserError(f"{name}: {option} must be >= {least[option]}, got {size}")


def cross_entropy(logits: Float[Array, "n classes"], labels: Int[Array, " n"]) -> Float[Array, ""]:
    """Mean of `-log softmax(logits)[label]`, in nats."""
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def accuracy(logits: Float[Array, "n classes"], labels: Int[Array, " n"]) -> Float[Array, ""]:
    """Share of the samples whose largest logit is the label's, in percent."""
    return 100.0 * jnp.mean(is_correct(logits, labels))


def is_correct(logits: Float[Array, "n classes"], labels: Int[Array, " n"]) -> Float[Array, " n"]:
    """One where the largest logit is the label's, else zero."""
    return (jnp.argmax(logits, axis=-1).astype(labels.dtype) == labels).astype(logits.dtype)

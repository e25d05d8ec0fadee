"""Classification of feature vectors by a neural SDE."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...data.dataset import Dataset, check_dataset
from ...data.splits import Splits
from ...errors import UserError
from ...nn.sde_classifier import NeuralSDEClassifier
from ...penalties.base import Penalties
from ...solvers.base.solver import AbstractSolver
from ...solvers.sde.sde import Calculus
from ...validity.prediction import Prediction, mean_nfe
from ..abilities import LossOption
from ..base import Metric
from ..classification.task import accuracy, check_sizes, cross_entropy
from .noise import fine_steps, noise_of


class Numbered(NamedTuple):
    """Samples along the first axis of all fields; a slice of it is a batch.

    Attributes:
        x: Inputs, `(n, features)`.
        y: Classes, `(n,)`.
        number: Its index in its part of the data, `(n,)`.
    """

    x: Any
    y: Any
    number: Any


@dataclass(frozen=True, eq=False)
class StochasticClassification:
    """A neural SDE from the inputs to classes: cross-entropy and accuracy on one path for each sample, float32.

    Attributes:
        name: Its name in records and tables.
        splits: The data, inputs `(n, ...)`, which are flattened, and integer classes from 0.
        states: Entries of the SDE's state.
        width: Hidden units of its drift.
        calculus: The calculus of the model.
        adjoint: For `kuttax.solve`; None for its default.
        max_steps: The largest number of steps that an adaptive solver may try; it also sets the smallest step size.
        train, validation, test: The data in the model's form: flat, float32, numbered.

    Raises:
        UserError: An option is out of range or does not fit the data.
    """

    loss_options: ClassVar[tuple[LossOption, ...]] = ("penalty",)

    name: str
    splits: Splits
    states: int = 32
    width: int = 64
    calculus: Calculus = "stratonovich"
    adjoint: Any = None
    max_steps: int = 4096
    train: Numbered = field(init=False)
    validation: Numbered = field(init=False)
    test: Numbered = field(init=False)

    interval = (0.0, 1.0)

    def __post_init__(self):
        check_sizes(self.name, width=self.width, max_steps=self.max_steps)
        if self.states < 1:
            raise UserError(f"{self.name}: states must be >= 1, got {self.states}")
        for part in Splits._fields:
            object.__setattr__(self, part, self._prepare(part, getattr(self.splits, part)))

    def _prepare(self, part: str, dataset: Dataset) -> Numbered:
        x, y = check_dataset(f"{self.name}, {part}", dataset)
        if y.ndim != 1 or y.dtype.kind not in "iu" or y.min() < 0:
            raise UserError(f"{self.name}, {part}: y must be classes counted from 0, (n,), got {y.dtype} {y.shape}")
        number = np.arange(len(x), dtype=np.int32)
        return Numbered(x.reshape(len(x), -1).astype("float32"), y.astype("int32"), number)

    @property
    def metric(self) -> Metric:
        """Accuracy, in percent."""
        return Metric("accuracy", higher_is_better=True, unit="%")

    @property
    def classes(self) -> int:
        """The number of classes: one more than the highest in any part."""
        return 1 + max(int(part.y.max()) for part in (self.train, self.validation, self.test))

    @property
    def reference(self) -> AbstractSolver:
        """A solver with fine steps, to compare with the model's own."""
        return fine_steps(self.calculus, 256)

    def init(self, key: PRNGKeyArray) -> NeuralSDEClassifier:
        """A model with fresh float32 weights."""
        sizes = (self.train.x.shape[1], self.states, self.width, self.classes)
        return NeuralSDEClassifier(*sizes, calculus=self.calculus, key=key)

    def loss(
        self,
        model: NeuralSDEClassifier,
        solver: AbstractSolver,
        batch: Numbered,
        key: PRNGKeyArray,
        penalty: Penalties | None = None,
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """Mean cross-entropy of a batch, and the penalty; logs "nfe" (of the drift), "metric" and "status"."""
        logits, sol = model(solver, batch.x, key, penalty=penalty, **self._options)
        loss = cross_entropy(logits, batch.y)
        log = {"nfe": mean_nfe(sol.stats), "metric": accuracy(logits, batch.y), "status": jnp.max(sol.status)}
        return loss + sol.penalty, log

    def predict(self, model: NeuralSDEClassifier, solver: AbstractSolver, batch: Numbered) -> Prediction:
        """The logits at the end of one path for each sample, `(n, classes)`; the same batch has the same noise."""
        key = noise_of(jnp.asarray(batch.number))
        logits, sol = model(solver, jnp.asarray(batch.x), key, **self._options)
        return Prediction(
            outputs=logits,
            metric=accuracy(logits, batch.y),
            loss=cross_entropy(logits, batch.y),
            labels=batch.y,
            stats=sol.stats,
            status=jnp.max(sol.status),
        )

    @property
    def _options(self) -> dict[str, Any]:
        return {"adjoint": self.adjoint, "max_steps": self.max_steps, "throw": False}

"""The task "spheres": three concentric shells."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..data import spheres
from .classification import Classification, FieldKind
from .classification_options import ClassificationOptions


@dataclass(frozen=True, kw_only=True)
class Spheres(ClassificationOptions):
    """Tell the middle of three concentric shells from the others, as Ott et al. (ICLR 2021): which step is fine enough?

    Data, field, initial weights and optimiser are the paper's. Validation is ours: the paper has none, so that
    its 2,000 training samples are what remains of 2,500.
    """

    training: ClassVar[dict[str, Any]] = {"train_steps": 10_000, "batch_size": 128, "lr": 1e-4, "lr_decay": 1.0}

    dimension: int = 2
    """Dimensions of the space."""
    samples: int = 2500
    """Samples to train and to validate on."""
    test_samples: int = 1000
    """Samples to test on."""
    data_seed: int = 0
    """Decides all samples."""
    field: FieldKind = "conv1d"
    """Vector field: a convolutional network along the coordinates, or a multilayer perceptron."""
    width: int = 32
    """Hidden channels (conv1d) or hidden units (mlp)."""
    depth: int = 2
    """Hidden layers."""
    time_dependent: bool = False
    """Whether the field sees the time."""

    def build(self) -> Classification:
        """Draws the data and makes the task.

        Raises:
            UserError: If an option is out of range.
        """
        data = spheres.load(self.dimension, self.samples, self.test_samples, self.data_seed)
        return replace(self.classification("spheres", *data), he_head=True)

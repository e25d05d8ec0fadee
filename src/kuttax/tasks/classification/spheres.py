"""The task "spheres": three concentric shells."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from ...data.tables import spheres
from ...options.bounds import Count, Depth, Seed, Size, at_least
from .options import ClassificationOptions
from .task import Classification, FieldKind


@dataclass(frozen=True, kw_only=True)
class Spheres(ClassificationOptions):
    """Tell the middle of three concentric shells from the others, as Ott et al. (ICLR 2021): which step is fine enough?

    Data, field, initial weights and optimiser are the paper's. Validation is ours: the paper has none, so that
    its 2,000 training samples are what remains of 2,500.
    """

    training: ClassVar[dict[str, Any]] = {"train_steps": 10_000, "batch_size": 128, "lr": 1e-4, "lr_decay": 1.0}

    dimension: Annotated[int, at_least(2, most=10_000)] = 2
    """Dimensions of the space."""
    samples: Count = 2500
    """Samples to train and to validate on."""
    test_samples: Count = 1000
    """Samples to test on."""
    data_seed: Seed = 0
    """Decides all samples."""
    field: FieldKind = "conv1d"
    """Vector field: a convolutional network along the coordinates, or a multilayer perceptron."""
    width: Size = 32
    """Hidden channels (conv1d) or hidden units (mlp)."""
    depth: Depth = 2
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

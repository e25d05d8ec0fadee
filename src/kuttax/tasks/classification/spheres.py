"""The task "spheres": three concentric shells."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from ...data.tables import spheres
from ...options.bounds import Depth, Seed, Size, WholeNumber, at_least
from .options import ClassificationOptions
from .task import Classification, FieldKind


@dataclass(frozen=True, kw_only=True)
class Spheres(ClassificationOptions):
    """Separate the middle one of three concentric shells from the other two, as Ott et al. (ICLR 2021) do to find out
    which step is fine enough.

    Data, field, initial weights and optimiser are the paper's. The paper has no validation data: here 500 of 2,500
    samples are for validation, and the paper's 2,000 remain for training.
    """

    training: ClassVar[dict[str, Any]] = {"train_steps": 10_000, "batch_size": 128, "lr": 1e-4, "lr_decay": 1.0}

    dimension: Annotated[int, at_least(2, most=10_000)] = 2
    """Dimensions of the space."""
    samples: WholeNumber = 2500
    """Draw this many samples for training and validation."""
    test_samples: WholeNumber = 1000
    """Draw this many samples for testing."""
    data_seed: Seed = 0
    """Draw all samples from this seed."""
    field: FieldKind = "conv1d"
    """The vector field: a convolutional network along the coordinates (conv1d) or over images (conv), or a multilayer
    perceptron (mlp)."""
    width: Size = 32
    """Hidden channels (conv1d, conv) or hidden units (mlp)."""
    depth: Depth = 2
    """Number of hidden layers."""
    time_dependent: bool = False
    """Let the vector field depend on the time."""

    def build(self) -> Classification:
        """Draws the data and makes the task.

        Raises:
            UserError: An option is out of range.
        """
        data = spheres.load(self.dimension, self.samples, self.test_samples, self.data_seed)
        return replace(self.classification("spheres", *data), he_head=True)

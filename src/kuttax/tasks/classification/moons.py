"""The task "moons": two interleaved half circles."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from ...data.dataset import Dataset
from ...options.bounds import Depth, Seed, Size, WholeNumber, at_least
from .options import ClassificationOptions
from .task import Classification, FieldKind


@dataclass(frozen=True, kw_only=True)
class Moons(ClassificationOptions):
    """Tell two interleaved half circles in the plane apart. Needs no download and trains in seconds."""

    training: ClassVar[dict[str, Any]] = {"batch_size": 128, "lr": 1e-2}

    samples: WholeNumber = 2000
    """Draw this many samples for training and validation."""
    test_samples: WholeNumber = 1000
    """Draw this many samples for testing."""
    noise: Annotated[float, at_least(0)] = 0.1
    """Standard deviation of the noise that moves the points off the half circles (radius 1)."""
    data_seed: Seed = 0
    """Draw all samples from this seed."""
    field: FieldKind = "mlp"
    """The vector field: a multilayer perceptron (mlp), or a convolutional network along the coordinates (conv1d)."""
    width: Size = 32
    """Hidden units (mlp) or hidden channels (conv1d)."""
    depth: Depth = 2
    """Number of hidden layers."""

    def build(self) -> Classification:
        """Draws the data and makes the task.

        Raises:
            UserError: An option is out of range.
        """
        samples = self._draw(self.samples, 0), self._draw(self.test_samples, 1)
        return self.classification("moons", *samples)

    def _draw(self, samples: int, stream: int) -> Dataset:
        from sklearn.datasets import make_moons  # not at the top: slow to import

        seed = int(np.random.SeedSequence([self.data_seed, stream]).generate_state(1)[0])
        x, y = make_moons(samples, noise=self.noise, random_state=seed)
        return Dataset(np.asarray(x, np.float32), np.asarray(y, np.int32))

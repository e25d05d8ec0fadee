"""The task "mnist": 28x28 handwritten digits."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..data import mnist
from ..data.splits import make_splits
from .classification import Classification, FieldKind


@dataclass(frozen=True, kw_only=True)
class Mnist:
    """Classify MNIST's 28x28 digits; the field is the one of Pal et al. (ICML 2023): 784-100-784, tanh."""

    batch_size: ClassVar[int] = 512
    """The batch size that the other defaults are chosen for."""

    data_dir: Path | None = None
    """Directory with mnist.npz, mnist10k.npz or the four IDX files; without it MNIST is downloaded once."""
    field: FieldKind = "mlp"
    """Vector field: a multilayer perceptron or a convolutional network."""
    width: int = 100
    """Hidden units (mlp) or hidden channels (conv)."""
    depth: int = 1
    """Hidden layers."""
    time_dependent: bool = True
    """Whether the field sees the time."""
    augmented: int = 0
    """Zeros appended to the features (mlp) or channels (conv)."""
    validation_fraction: float = 0.1
    """Share of the training set on which choices are made."""
    split_seed: int = 0
    """Decides which samples are validation; the test set is the official one."""
    max_steps: int = 256
    """The most steps an adaptive solver may try."""

    def build(self) -> Classification:
        """Loads the data and makes the task.

        Raises:
            UserError: If the data cannot be had or an option is out of range.
        """
        train, test = mnist.load(self.data_dir)
        splits = make_splits(train, test, validation_fraction=self.validation_fraction, seed=self.split_seed)
        return Classification(
            "mnist",
            splits,
            field=self.field,
            width=self.width,
            depth=self.depth,
            time_dependent=self.time_dependent,
            augmented=self.augmented,
            max_steps=self.max_steps,
        )

"""The task "digits": scikit-learn's embedded 8x8 images."""

from dataclasses import dataclass
from typing import ClassVar

from ..data import digits
from ..data.splits import make_splits
from .classification import Classification, FieldKind


@dataclass(frozen=True, kw_only=True)
class Digits:
    """Classify scikit-learn's embedded 8x8 digits: no download, seconds to train."""

    batch_size: ClassVar[int] = 128
    """The batch size that the other defaults are chosen for."""

    field: FieldKind = "mlp"
    """Vector field: a multilayer perceptron or a convolutional network."""
    width: int = 64
    """Hidden units (mlp) or hidden channels (conv)."""
    depth: int = 1
    """Hidden layers."""
    time_dependent: bool = True
    """Whether the field sees the time."""
    augmented: int = 0
    """Zeros appended to the features (mlp) or channels (conv)."""
    validation_fraction: float = 0.2
    """Share of the training set on which choices are made."""
    split_seed: int = 0
    """Decides which samples are validation; the test set is fixed."""
    max_steps: int = 256
    """The most steps an adaptive solver may try."""

    def build(self) -> Classification:
        """Loads the data and makes the task.

        Raises:
            UserError: If an option is out of range.
        """
        train, test = digits.load()
        splits = make_splits(train, test, validation_fraction=self.validation_fraction, seed=self.split_seed)
        return Classification(
            "digits",
            splits,
            field=self.field,
            width=self.width,
            depth=self.depth,
            time_dependent=self.time_dependent,
            augmented=self.augmented,
            max_steps=self.max_steps,
        )

"""The options that every named classification task has."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ..data.dataset import Dataset
from ..data.splits import make_splits
from .classification import Classification, FieldKind, check_sizes


@dataclass(frozen=True, kw_only=True)
class ClassificationOptions:
    """The model and the split of the data."""

    training: ClassVar[dict[str, Any]] = {}
    """Settings of training that the other defaults are chosen for: batch size and learning rate."""

    field: FieldKind = "mlp"
    """Vector field: a multilayer perceptron, or a convolutional network over images (conv) or coordinates (conv1d)."""
    width: int = 64
    """Hidden units (mlp) or hidden channels (conv, conv1d)."""
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

    def __post_init__(self):
        """Looks at the sizes before any data are loaded."""
        name = type(self).__name__.lower()
        check_sizes(name, width=self.width, depth=self.depth, augmented=self.augmented, max_steps=self.max_steps)

    def classification(self, name: str, train: Dataset, test: Dataset) -> Classification:
        """The task on these data.

        Raises:
            UserError: If an option is out of range.
        """
        splits = make_splits(train, test, validation_fraction=self.validation_fraction, seed=self.split_seed)
        return Classification(
            name,
            splits,
            field=self.field,
            width=self.width,
            depth=self.depth,
            time_dependent=self.time_dependent,
            augmented=self.augmented,
            max_steps=self.max_steps,
        )

"""The options that every named classification task has."""

from dataclasses import dataclass
from typing import Annotated

from ...data.dataset import Dataset
from ...data.splits import make_splits
from ...options.bounds import Depth, MostSteps, Seed, Share, Size, at_least
from ...options.unused import Unused, unless
from ..options import TaskOptions
from .task import Classification, FieldKind


@dataclass(frozen=True, kw_only=True)
class ClassificationOptions(TaskOptions):
    """The model and the split of the data."""

    field: FieldKind = "mlp"
    """Vector field: a multilayer perceptron, or a convolutional network over images (conv) or coordinates (conv1d)."""
    width: Size = 64
    """Hidden units (mlp) or hidden channels (conv, conv1d)."""
    depth: Depth = 1
    """Hidden layers."""
    time_dependent: bool = True
    """Whether the field sees the time."""
    augmented: Annotated[int, at_least(0, most=65536)] = 0
    """Zeros appended to the features (mlp) or channels (conv)."""
    validation_fraction: Share = 0.2
    """Share of the training set on which choices are made."""
    split_seed: Seed = 0
    """Decides which samples are validation; the test set is fixed."""
    max_steps: MostSteps = 256
    """The most steps an adaptive solver may try."""

    def unused(self) -> dict[str, Unused]:
        """The options that change nothing beside the others."""
        return unless(self.depth > 0, ["width"], "with --depth 0", "give a hidden layer")

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

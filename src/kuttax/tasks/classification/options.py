"""The options that every named classification task has."""

from dataclasses import dataclass
from typing import Annotated

import tyro

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
    """The vector field: a multilayer perceptron (mlp), a convolutional network over images (conv; bottleneck: its first
    and last layer are 1x1) or over coordinates (conv1d)."""
    width: Size = 64
    """Hidden units (mlp) or hidden channels (all others)."""
    depth: Depth = 1
    """Number of hidden layers."""
    time_dependent: Annotated[bool, tyro.conf.arg(help="Hide the time from the vector field.")] = True
    """Whether the vector field depends on the time."""
    augmented: Annotated[int, at_least(0, most=65536)] = 0
    """Append this many zeros to the features (mlp), or zero channels to the image (conv, bottleneck)."""
    validation_fraction: Share = 0.2
    """Keep this share of the training set for validation."""
    split_seed: Seed = 0
    """Draw the validation samples from this seed; the test set is fixed."""
    max_steps: MostSteps = 256
    """Let an adaptive solver try at most this many steps."""

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

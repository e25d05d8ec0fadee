"""The task "cifar10": 32x32 images in colour."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ...data.images import cifar10
from ...options.bounds import Depth, Share, Size
from .options import ClassificationOptions
from .task import Classification, FieldKind


@dataclass(frozen=True, kw_only=True)
class Cifar10(ClassificationOptions):
    """Classify CIFAR-10's 32x32 images in colour. The field is that of Ott et al. (ICLR 2021) at a quarter of its
    width."""

    training: ClassVar[dict[str, Any]] = {"batch_size": 256, "lr": 1e-3}

    data_dir: Path | None = None
    """Read CIFAR-10 from this folder, from cifar10.npz, cifar10_10k.npz, or the binary version, packed or not (default:
    download it once)."""
    field: FieldKind = "bottleneck"
    """The vector field: convolutions of 1x1, 3x3 and 1x1 (bottleneck), of 3x3 (conv), or along the coordinates
    (conv1d), or a multilayer perceptron (mlp)."""
    width: Size = 32
    """Hidden channels, or hidden units (mlp)."""
    depth: Depth = 2
    """Number of hidden layers."""
    validation_fraction: Share = 0.1
    """Keep this share of the training set for validation."""

    def build(self) -> Classification:
        """Loads the data and makes the task.

        Raises:
            UserError: The data are not available, or an option is out of range.
        """
        return self.classification("cifar10", *cifar10.load(self.data_dir))

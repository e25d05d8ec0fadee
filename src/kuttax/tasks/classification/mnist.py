"""The task "mnist": 28x28 handwritten digits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ...data.images import mnist
from ...options.bounds import Share, Size
from .options import ClassificationOptions
from .task import Classification


@dataclass(frozen=True, kw_only=True)
class Mnist(ClassificationOptions):
    """Classify MNIST's 28x28 digits. Field, batch size and learning rate are those of Pal et al. (ICML 2023)."""

    training: ClassVar[dict[str, Any]] = {"batch_size": 512, "lr": 1e-3}

    data_dir: Path | None = None
    """Read MNIST from this folder, from mnist.npz, mnist10k.npz or the four IDX files (default: download it once)."""
    width: Size = 100
    """Hidden units (mlp) or hidden channels (conv, conv1d)."""
    validation_fraction: Share = 0.1
    """Keep this share of the training set for validation."""

    def build(self) -> Classification:
        """Loads the data and makes the task.

        Raises:
            UserError: The data are not available, or an option is out of range.
        """
        return self.classification("mnist", *mnist.load(self.data_dir))

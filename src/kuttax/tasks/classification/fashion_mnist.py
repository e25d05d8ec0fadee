"""The task "fashion-mnist": 28x28 articles of clothing."""

from dataclasses import dataclass
from pathlib import Path

from ...data.images import mnist
from .mnist import Mnist
from .task import Classification


@dataclass(frozen=True, kw_only=True)
class FashionMnist(Mnist):
    """Classify Fashion-MNIST's 28x28 articles of clothing. The form and the defaults are those of mnist."""

    data_dir: Path | None = None
    """Read Fashion-MNIST from this folder, from its four IDX files, gzipped or not (default: download them once)."""

    def build(self) -> Classification:
        """Loads the data and makes the task.

        Raises:
            UserError: The data are not available, or an option is out of range.
        """
        return self.classification("fashion-mnist", *mnist.load_fashion(self.data_dir))

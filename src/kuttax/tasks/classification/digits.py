"""The task "digits": scikit-learn's embedded 8x8 images."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ...data.images import digits
from .options import ClassificationOptions
from .task import Classification


@dataclass(frozen=True, kw_only=True)
class Digits(ClassificationOptions):
    """Classify the 8x8 digits that come with scikit-learn. Needs no download and trains in seconds."""

    training: ClassVar[dict[str, Any]] = {"batch_size": 128, "lr": 1e-2}

    def build(self) -> Classification:
        """Loads the data and makes the task.

        Raises:
            UserError: An option is out of range.
        """
        return self.classification("digits", *digits.load())

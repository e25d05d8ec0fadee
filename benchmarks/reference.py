"""Reference: a workload's solution in float64, and how far off others are. NumPy only; `oracle.py` makes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Reference:
    """The outputs, and the gradient of mean(outputs^2) in weights and y0, in float64."""

    outputs: np.ndarray
    weights: Sequence[np.ndarray]
    y0: np.ndarray

    def save(self, path: Path) -> None:
        """Write it as an .npz file."""
        named = {f"weight{i}": w for i, w in enumerate(self.weights)}
        np.savez(path, outputs=self.outputs, y0=self.y0, **named)  # pyright: ignore[reportArgumentType]

    @classmethod
    def load(cls, path: str | Path) -> "Reference":
        """Read what `save` wrote."""
        with np.load(path) as file:
            return cls(file["outputs"], [file[f"weight{i}"] for i in range(len(file.files) - 2)], file["y0"])

    def output_error(self, outputs: np.ndarray) -> float:
        """The relative L2 error of outputs."""
        return _relative([outputs], [self.outputs])

    def gradient_error(self, weights: Sequence[np.ndarray], y0: np.ndarray) -> float:
        """The relative L2 error of a gradient, in the weights or in y0, whichever is greater."""
        return max(_relative(weights, self.weights), _relative([y0], [self.y0]))


def _relative(given: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> float:
    squares = sum(np.sum((g.astype(np.float64) - t) ** 2) for g, t in zip(given, truth, strict=True))
    return float(np.sqrt(squares / sum(np.sum(t**2) for t in truth)))

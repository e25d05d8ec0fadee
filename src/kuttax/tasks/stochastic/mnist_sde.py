"""The task "mnist-sde": 28x28 handwritten digits by a neural SDE."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ...data.images import mnist
from ...data.splits import make_splits
from ...options.bounds import MostSteps, Seed, Share, Size
from ...solvers.sde.sde import Calculus
from ..options import TaskOptions
from .classification import StochasticClassification


@dataclass(frozen=True, kw_only=True)
class MnistSDE(TaskOptions):
    """Classify MNIST's digits with a neural SDE. Model, batch size and learning rate are those of Pal et al. (ICML
    2023).

    Dense(784 -> 32), drift Dense(32 -> 64, tanh), Dense(64 -> 32), diffusion Dense(32 -> 32), head Dense(32 -> 10).
    """

    training: ClassVar[dict[str, Any]] = {"batch_size": 512, "lr": 1e-2, "lr_decay": 1.0}
    solver: ClassVar[dict[str, Any]] = {"solver": "spark", "rtol": 5e-3, "atol": 5e-3}

    data_dir: Path | None = None
    """Read MNIST from this folder, from mnist.npz, mnist10k.npz or the four IDX files (default: download it once)."""
    states: Size = 32
    """Entries of the SDE's state."""
    width: Size = 64
    """Hidden units of the drift."""
    calculus: Calculus = "stratonovich"
    """Read the SDE in this calculus: stratonovich (solvers spark, stochastic-heun, milstein) or ito (euler-maruyama,
    milstein, srk)."""
    validation_fraction: Share = 0.1
    """Keep this share of the training set for validation."""
    split_seed: Seed = 0
    """Draw the validation samples from this seed; the test set is fixed."""
    max_steps: MostSteps = 4096
    """Let an adaptive solver try at most this many steps; its smallest step is the interval divided by twice this
    number."""

    def build(self) -> StochasticClassification:
        """Loads the data and makes the task.

        Raises:
            UserError: The data are not available, or an option is out of range.
        """
        train, test = mnist.load(self.data_dir)
        splits = make_splits(train, test, validation_fraction=self.validation_fraction, seed=self.split_seed)
        options = {"states": self.states, "width": self.width, "calculus": self.calculus, "max_steps": self.max_steps}
        return StochasticClassification("mnist-sde", splits, **options)

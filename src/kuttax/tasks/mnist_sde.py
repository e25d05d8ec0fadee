"""The task "mnist-sde": 28x28 handwritten digits by a neural SDE."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..data import mnist
from ..data.splits import make_splits
from ..errors import UserError
from ..solvers.sde import Calculus
from .classification import check_sizes
from .stochastic_classification import StochasticClassification


@dataclass(frozen=True, kw_only=True)
class MnistSDE:
    """Classify MNIST's digits by a neural SDE; model, batch size and learning rate are those of Pal et al. (ICML 2023).

    Dense(784 -> 32), drift Dense(32 -> 64, tanh), Dense(64 -> 32), diffusion Dense(32 -> 32), head Dense(32 -> 10).
    """

    training: ClassVar[dict[str, Any]] = {"batch_size": 512, "lr": 1e-2, "lr_decay": 1.0}
    solver: ClassVar[dict[str, Any]] = {"solver": "spark", "rtol": 5e-3, "atol": 5e-3}

    data_dir: Path | None = None
    """Directory with mnist.npz, mnist10k.npz or the four IDX files; without it MNIST is downloaded once."""
    states: int = 32
    """Entries of the SDE's state."""
    width: int = 64
    """Hidden units of its drift."""
    calculus: Calculus = "stratonovich"
    """How the model is read: stratonovich (by spark, stochastic-heun, milstein) or ito (euler-maruyama, milstein,
    srk)."""
    validation_fraction: float = 0.1
    """Share of the training set on which choices are made."""
    split_seed: int = 0
    """Decides which samples are validation; the test set is fixed."""
    max_steps: int = 4096
    """The most steps an adaptive solver may try; its shortest step is the interval over twice as many."""

    def __post_init__(self):
        check_sizes("mnist-sde", width=self.width, max_steps=self.max_steps)
        if self.states < 1:
            raise UserError(f"mnist-sde: states must be >= 1, got {self.states}")

    def build(self) -> StochasticClassification:
        """Loads the data and makes the task.

        Raises:
            UserError: If the data cannot be had or an option is out of range.
        """
        train, test = mnist.load(self.data_dir)
        splits = make_splits(train, test, validation_fraction=self.validation_fraction, seed=self.split_seed)
        options = {"states": self.states, "width": self.width, "calculus": self.calculus, "max_steps": self.max_steps}
        return StochasticClassification("mnist-sde", splits, **options)

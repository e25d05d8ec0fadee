"""Settings of a training run."""

from dataclasses import dataclass
from typing import Literal

from ..errors import UserError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train: Adam, with a learning rate of its own for the solver's parameters."""

    train_steps: int = 600
    """Optimiser steps."""
    batch_size: int = 128
    """Samples a step."""
    lr: float = 3e-3
    """Learning rate of the model."""
    solver_lr: float = 1e-3
    """Learning rate of a learned solver's coefficients and step sizes."""
    lr_decay: float = 0.1
    """Learning rates end at this fraction of their start, on a cosine; 1 keeps them constant."""
    evaluations: int = 10
    """How often the validation set is looked at; the best model on it is kept."""
    per_dispatch: int = 20
    """Optimiser steps in one compiled call."""
    on_failure: Literal["raise", "skip", "rollback"] = "raise"
    """Where loss or gradient are not finite, or a solve fails: end training, leave out the batch (with --control
    per_sample the sample), or go back some steps and go on at a smaller learning rate."""
    rollback_lr: float = 0.5
    """The factor of the learning rates at each rollback."""
    most_failures: float = 0.1
    """Skip and rollback end training too, where they have lost more than this share of all its samples."""

    def __post_init__(self):
        for name in ("train_steps", "batch_size", "evaluations", "per_dispatch"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be >= 1, got {getattr(self, name)}")
        if not self.lr > 0:
            raise UserError(f"lr must be > 0, got {self.lr}")
        if self.solver_lr < 0:
            raise UserError(f"solver_lr must be >= 0, got {self.solver_lr}")
        if not 0 < self.lr_decay <= 1:
            raise UserError(f"lr_decay must lie in (0, 1], got {self.lr_decay}")
        for name in ("rollback_lr", "most_failures"):
            if not 0 < getattr(self, name) <= 1:
                raise UserError(f"{name} must lie in (0, 1], got {getattr(self, name)}")
        if self.on_failure not in (known := ("raise", "skip", "rollback")):
            raise UserError(f"on_failure must be one of {', '.join(known)}, got {self.on_failure!r}")

"""Settings of a training run."""

from dataclasses import dataclass

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

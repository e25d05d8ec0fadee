"""Settings of a training run."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from ..errors import UserError
from ..kinds import check_kind
from ..options.bounds import WholeNumber, above, at_least, between, check_bounds
from ..options.unused import Unused, unless

_FRACTION = between(0, 1, "(]")


def check_settings(settings: Any) -> None:
    """Refuse what are no settings.

    Raises:
        UserError: They are none.
    """
    check_kind("settings", settings, Settings, "a kx.training.Settings(...)")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train: with Adam, and with a separate learning rate for the parameters of the solver."""

    train_steps: WholeNumber = 600
    """Train for this many optimiser steps."""
    batch_size: WholeNumber = 128
    """Use this many samples in each optimiser step."""
    lr: Annotated[float, above(0, most=1e6)] = 3e-3
    """Learning rate of the model."""
    solver_lr: Annotated[float, at_least(0, most=1e6)] = 1e-3
    """Learning rate of a learned solver's coefficients and step sizes."""
    lr_decay: Annotated[float, _FRACTION] = 0.1
    """Lower the learning rates along a cosine to this fraction of their start; 1 keeps them constant."""
    evaluations: WholeNumber = 10
    """Evaluate on the validation set this many times during training, and keep the best model."""
    per_dispatch: Annotated[int, at_least(1, most=100_000)] = 20
    """Run this many optimiser steps in one compiled call."""
    on_failure: Literal["raise", "skip", "rollback"] = "raise"
    """What to do when a loss or gradient is not finite, or a solve fails. raise: end training. skip: leave out the
    batch, or with --control per_sample only the failing samples. rollback: return to an earlier step and continue with
    smaller learning rates."""
    rollback_lr: Annotated[float, _FRACTION] = 0.5
    """Multiply the learning rates by this factor at each rollback."""
    most_failures: Annotated[float, _FRACTION] = 0.1
    """With --on-failure skip or rollback: end training when more than this share of all its samples is lost."""

    def __post_init__(self):
        check_bounds(self)
        if self.on_failure not in (known := ("raise", "skip", "rollback")):
            raise UserError(f"on_failure must be one of {', '.join(known)}, got {self.on_failure!r}")

    def unused(self, *, learns: bool) -> dict[str, Unused]:
        """The options that change nothing beside the others.

        Args:
            learns: Whether the solver has parameters that are trained.
        """
        policy = f"with --on-failure {self.on_failure}"
        rollback, goes_on = self.on_failure == "rollback", self.on_failure != "raise"
        return {
            **unless(learns, ["solver_lr"], "with a solver that has nothing to learn", "name a learned one"),
            **unless(rollback, ["rollback_lr"], policy, "give --on-failure rollback"),
            **unless(goes_on, ["most_failures"], policy, "give --on-failure skip or rollback"),
        }

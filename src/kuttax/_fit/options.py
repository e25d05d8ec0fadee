"""FitOptions: the optional components of `fit`."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import UserError
from ..solvers.base.solver import Calculus
from ..training.settings import Settings

When = Literal["auto", "always", "never"]


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """The components of `fit`. Each can be switched off.

    Attributes:
        warm_up: The fraction of the optimiser steps that train with an adaptive solver, with a penalty on the error of
            one step of the budget's size (Pal et al., ICML 2023); 0 for none.
        learned: Whether the solver learns while the model trains. "never": use the classical scheme that a learned
            solver would start at. "auto": "always" for an ODE and "never" for an SDE: learned schemes for SDEs gave no
            better fields and fewer valid certificates (experiments/fit).
        consistency: Factor of the penalty on the difference between the solver's own step and a finer one (after Ott et
            al., ICLR 2021), in addition to the task's own weight; 0 for none.
        distill: Whether to fit a solver to the finished field after training, starting at the solver of training. `fit`
            skips this where the solver's errors are negligible.

    Raises:
        UserError: A number is out of its range.
    """

    warm_up: float = 0.2
    learned: When = "auto"
    consistency: float = 1.0
    distill: bool = True

    def __post_init__(self):
        if not 0 <= self.warm_up < 1:
            raise UserError(f"warm_up must lie in [0, 1), got {self.warm_up}")
        if self.learned not in get_args(When):
            raise UserError(f"learned must be one of {', '.join(get_args(When))}, got {self.learned!r}")
        if not (self.consistency >= 0 and math.isfinite(self.consistency)):
            raise UserError(f"consistency must be a number >= 0, got {self.consistency}")

    def warm_up_steps(self, settings: Settings) -> int:
        """Optimiser steps of the warm-up of an ODE: whole dispatches; none if they would be all steps."""
        steps = settings.per_dispatch * round(self.warm_up * settings.train_steps / settings.per_dispatch)
        return steps if steps < settings.train_steps else 0

    def learns(self, calculus: Calculus | None) -> bool:
        """Whether the solver learns, for an SDE in that calculus or, if None, for an ODE."""
        return self.learned == "always" or (self.learned == "auto" and calculus is None)

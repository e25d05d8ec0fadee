"""Workload: a problem, how it is solved, and by which libraries. NumPy only: every library's process imports it."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from .problems import Problem

Method = Literal["RK4", "DOPRI5", "DOPRI8", "TSIT5", "Euler-Maruyama"]
STAGES: dict[Method, int] = {"RK4": 4, "DOPRI5": 6, "DOPRI8": 13, "TSIT5": 6, "Euler-Maruyama": 1}
"""Evaluations of the field in one step; the last stage of an adaptive method is the next step's first."""
_SMALL_SIZES = {"mlp": (3, 8, 3), "relaxation": (3, 8, 3), "conv": (2, 2, 2), "unet": (1, 8), "transformer": (8, 8)}


@dataclass(frozen=True)
class Workload:
    """A problem and how it is solved.

    Attributes:
        name: What commands and records call it.
        group: The table that it belongs to.
        problem: What is solved.
        libraries: Who solves it.
        method: By which method; an SDE has diagonal noise, the diffusion as costly as the drift.
        steps: So many equal steps; None for an adaptive solve. If every sample has its own times to save at, so many
            from each of them to the next.
        tolerance: rtol and atol of the adaptive solve; what it achieves in diffrax is the error that all must meet.
        per_sample: Every sample has its own steps.
        kinds: What is timed: "gradient" of mean(y^2) in weights and y0, "forward" the solve alone.
        rounds: How often each library has its turn.
        reference: Whether a solution in float64 tells the errors. Without one, every library takes `tolerance`.
    """

    name: str
    group: Literal["fixed", "adaptive", "fields", "learned", "scaling", "memory", "stochastic", "ragged", "gpu"]
    problem: Problem
    libraries: tuple[str, ...]
    method: Method
    steps: int | None = None
    tolerance: float | None = None
    per_sample: bool = False
    kinds: tuple[str, ...] = ("gradient", "forward")
    rounds: int = 7
    reference: bool = True

    @property
    def noise(self) -> bool:
        """Whether it is an SDE."""
        return self.method == "Euler-Maruyama"

    @property
    def stages(self) -> int:
        """Evaluations of the field in one step."""
        return STAGES[self.method]

    @property
    def total_steps(self) -> int | None:
        """The number of fixed steps of the whole solve."""
        return self.steps and self.steps * (self.problem.times if self.problem.own_times else 1)

    def smoke(self) -> "Workload":
        """The same in small: it shows that everything runs, and measures nothing."""
        problem = dataclasses.replace(
            self.problem,
            sizes=_SMALL_SIZES[self.problem.field],
            batch=4,
            side=min(self.problem.side, 4),
            tokens=min(self.problem.tokens, 3),
            t1=1.0,
            spread=min(self.problem.spread, 10.0),
            times=min(self.problem.times, 5),
        )
        steps, tolerance = self.steps and 2, self.tolerance and 1e-3
        return dataclasses.replace(self, problem=problem, steps=steps, tolerance=tolerance, rounds=min(self.rounds, 2))

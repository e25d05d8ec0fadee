"""The task "spiral-sde": the moments of noisy spirals."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from ...data.systems import spiral_sde
from ...options.bounds import MostSteps, Seed, Size, at_least
from ...solvers.sde.sde import Calculus
from ..options import TaskOptions
from .moment_fit import MomentFit, MomentSplits


@dataclass(frozen=True, kw_only=True)
class SpiralSDE(TaskOptions):
    """Fit a neural SDE to the means and variances of a spiral SDE at 30 points in time, as Pal et al. (ICML 2021).

    Data, model, loss and batch size are the paper's. The paper has no validation and test data; here they are moments
    of further trajectories.
    """

    training: ClassVar[dict[str, Any]] = {"train_steps": 300, "batch_size": 100, "lr": 3e-2}
    solver: ClassVar[dict[str, Any]] = {"solver": "spark", "rtol": 5e-3, "atol": 5e-3}

    trajectories: Annotated[int, at_least(2)] = 10_000
    """Train on the moments of this many trajectories."""
    held_out: Annotated[int, at_least(2)] = 2_000
    """Validate on the moments of this many trajectories, and test on as many."""
    data_seed: Seed = 0
    """Draw all trajectories from this seed."""
    width: Size = 50
    """Hidden units of the drift."""
    calculus: Calculus = "stratonovich"
    """Read the SDE in this calculus: stratonovich (solvers spark, stochastic-heun, milstein) or ito (euler-maruyama,
    milstein, srk)."""
    max_steps: MostSteps = 8192
    """Let an adaptive solver try at most this many steps; its smallest step is the interval divided by twice this
    number."""

    def build(self) -> MomentFit:
        """Draws the trajectories and makes the task.

        Raises:
            UserError: An option is out of range.
        """
        n, m = self.trajectories, self.held_out
        y = spiral_sde.trajectories(n + 2 * m, self.data_seed)
        parts = MomentSplits(y[:n], y[n : n + m], y[n + m :])
        options = {"width": self.width, "calculus": self.calculus, "max_steps": self.max_steps}
        return MomentFit("spiral-sde", spiral_sde.TIMES, parts, **options)

"""What a solve returns: states, what they cost, and how it ended."""

from enum import IntEnum
from typing import Any

import equinox as eqx
from jaxtyping import Array, Int

from .._types import Count, State
from .pick import Watched


class Status(IntEnum):
    """How a solve ended, each with its cause and its mend in `message`."""

    ok = 0
    max_steps = 1
    step_underflow = 2
    non_finite = 3
    unordered_times = 4
    tolerance = 5
    ill_conditioned = 6
    implicit = 7
    reversed_noise = 8

    @property
    def message(self) -> str:
        """One line: what happened, and what helps."""
        return _MESSAGES[self]


_MESSAGES = {
    Status.ok: "the solve reached its end",
    Status.max_steps: "the solve used up max_steps before its end: "
    "raise max_steps, loosen rtol and atol, or look for stiffness (an implicit solver: kx.FromDiffrax)",
    Status.step_underflow: "the step size shrank below what the dtype can resolve: the solution blows up or is too "
    "stiff for this tolerance: shorten the interval, loosen rtol and atol, or use float64",
    Status.non_finite: "the vector field or the state became NaN or infinite: "
    "look at the field near the last finite state, or take smaller steps",
    Status.unordered_times: "ts must be sorted from t0 towards t1 and lie between them",
    Status.tolerance: "rtol is below eight times the epsilon of the state's dtype: loosen rtol, or use float64",
    Status.ill_conditioned: "the learned tableau has drifted to where its order conditions are ill-conditioned: "
    "lower the solver's learning rate or ask for a lower order",
    Status.implicit: "the implicit solver's inner iteration did not converge: "
    "loosen its tolerance or take smaller steps",
    Status.reversed_noise: "an SDE is solved forward in time alone: t1 must not come before t0",
}


class SolveError(RuntimeError):
    """A solve that did not reach its end. `status` says why."""

    status: Status

    def __init__(self, status: Status, message: str):
        super().__init__(message)
        self.status = status


class Stats(eqx.Module):
    """What a solve cost. None where it cannot be known; one number a sample where every sample has its own steps.

    Attributes:
        nfe: Evaluations of the vector field in the forward solve; of an SDE's drift.
        accepted: Steps taken.
        rejected: Steps tried and not taken.
        nfe_backward: Evaluations of the field, each with its vector-Jacobian product, that a reverse pass takes.
        nfe_diffusion: Evaluations of an SDE's diffusion in the forward solve; None for an ODE.
    """

    nfe: Count | None
    accepted: Count | None
    rejected: Count | None
    nfe_backward: Count | None
    nfe_diffusion: Count | None = None


class Solution(eqx.Module):
    """The result of `kuttax.solve`.

    Attributes:
        y1: The state at t1, shaped like y0. NaN where the solve did not reach t1.
        ys: The states at `ts`, each leaf with a leading axis of length len(ts); NaN where they were not reached.
            None where no `ts` was given.
        stats: What it cost.
        status: A `Status` as an integer, one a sample where every sample has its own steps.
        penalty: The value of the penalty that was asked for, a scalar; 0 where none was.
        watched: What penalties asked the solver to look at on its way; not for users.
    """

    y1: State
    ys: Any
    stats: Stats
    status: Int[Array, "*samples"]
    penalty: Any = 0.0
    watched: Watched = Watched()

"""Growing: growth rates under one solver as plain numbers, and whether two solvers disagree about their sign."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jaxtyping import Float

from ...errors import UserError
from ...solvers.base.solution import Status
from ...solvers.base.solver import AbstractSolver
from .interval import Interval, of_mean, standard_error


class Rates(Protocol):
    """What `growth` returns: a `kuttax.GrowthRates`, or an object like it."""

    @property
    def rates(self) -> Any: ...
    @property
    def duration(self) -> Any: ...
    @property
    def status(self) -> Any: ...


Growth = Callable[[AbstractSolver, Any], Rates]
"""`growth(solver, batch) -> kx.GrowthRates`: it closes over the model."""


class Grown(NamedTuple):
    """Growth rates in float64.

    Attributes:
        rates: Of each trajectory, in decreasing order, in units of 1 / time, (n, k).
        duration: The time over which they are averages.
    """

    rates: Float[np.ndarray, "n k"]
    duration: float


class Disagreement(NamedTuple):
    """A growth rate with one sign under the own solver and the other under a reference.

    Attributes:
        own, reference: The means over the trajectories, in units of 1 / time.
        gap: Reference minus own, times the duration: the logarithm of the factor between the two.
        interval: The confidence interval of `gap`.
    """

    own: float
    reference: float
    gap: float
    interval: Interval


def growth_of(growth: Growth, solver: AbstractSolver, batch: Any) -> Grown | None:
    """The growth rates under this solver; None if a solve fails or does not take the solver.

    Raises:
        UserError: `growth` returns something else than growth rates.
    """
    try:
        found = jax.block_until_ready(growth(solver, batch))
    except (RuntimeError, UserError):  # a failed solve, or one with a solver that does not fit the larger state
        return None
    if not all(hasattr(found, name) for name in ("rates", "duration", "status")):
        raise UserError(f"growth must return kx.growth_rates(...), got {type(found).__name__}")
    rates = np.asarray(found.rates, np.float64)
    if rates.ndim != 2 or len(rates) == 0:
        raise UserError(f"growth's rates must have shape (n, k), got {rates.shape}")
    whole = int(np.max(np.asarray(found.status))) == Status.ok and bool(np.isfinite(rates).all())
    return Grown(rates, float(found.duration)) if whole else None


def disagreement(own: np.ndarray, reference: np.ndarray, duration: float, least: float) -> Disagreement | None:
    """The rate whose sign differs most; None if no sign differs.

    A sign differs if, with confidence over the trajectories, the rate is below zero under one solver and above under
    the other, and the two are so far apart that distances differ by more than the share `least` at the end.

    Args:
        own, reference: Rates of the same n trajectories, (n, k).
        duration: The time over which they are averages.
        least: A share.
    """
    n = len(own)
    if n < 2 or own.shape != reference.shape:
        return None
    found = []
    for mine, theirs in zip(own.T, reference.T, strict=True):
        bounds = lambda values: of_mean(float(values.mean()), standard_error(values), n)
        a, b, apart = bounds(mine), bounds(theirs), bounds(duration * (theirs - mine))
        opposite = (a.high < 0 < b.low) or (b.high < 0 < a.low)
        if opposite and min(abs(apart.low), abs(apart.high)) > least:
            gap = duration * float((theirs - mine).mean())
            found.append(Disagreement(float(mine.mean()), float(theirs.mean()), gap, apart))
    return max(found, key=lambda one: abs(one.gap), default=None)

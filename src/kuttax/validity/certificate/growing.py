"""Growing: growth rates under one solver as plain numbers, and whether two solvers disagree about their sign."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Float

from ...errors import UserError
from ...solvers.base.solution import Status
from ...solvers.base.solver import AbstractSolver
from .interval import Interval, of_mean, standard_error


@runtime_checkable
class Rates(Protocol):
    """What `growth` returns: a `kuttax.GrowthRates`, or an object like it."""

    @property
    def rates(self) -> Any: ...
    @property
    def volume(self) -> Any: ...
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
        volume: The growth rate of volumes, (n,); None if it is not known.
        duration: The time over which they are averages.
    """

    rates: Float[np.ndarray, "n k"]
    volume: Float[np.ndarray, " n"] | None
    duration: float


class Disagreement(NamedTuple):
    """A growth rate with one sign under the own solver and the other under a reference.

    Attributes:
        what: "distances" or "volumes".
        own, reference: The means over the trajectories, in units of 1 / time.
        gap: Reference minus own, times the duration: the logarithm of the factor between the two.
        interval: The confidence interval of `gap`.
    """

    what: str
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
    if not isinstance(found, Rates):
        raise UserError(f"growth must return kx.growth_rates(...), got {type(found).__name__}")
    rates = np.asarray(found.rates, np.float64)
    if rates.ndim != 2 or len(rates) == 0:
        raise UserError(f"growth's rates must have shape (n, k), got {rates.shape}")
    whole = int(np.max(np.asarray(found.status))) == Status.ok and bool(np.isfinite(rates).all())
    volume = None if found.volume is None else np.asarray(found.volume, np.float64)
    return Grown(rates, volume, float(found.duration)) if whole else None


def disagreement(own: Grown, reference: Grown, least: float) -> Disagreement | None:
    """The rate whose sign differs most, or that of volumes; None if no sign differs.

    A sign differs if, with confidence over the trajectories, the rate is below zero under one solver and above under
    the other, and the two are so far apart that distances, or volumes, differ by more than the share `least` at the
    end. Distances that shear makes grow for a while can hide a wrong sign; volumes cannot.

    Args:
        own, reference: Rates along the same n trajectories.
        least: A share.
    """
    if len(own.rates) < 2 or own.rates.shape != reference.rates.shape:
        return None
    mine, theirs = own.rates.T, reference.rates.T
    found = [_opposite("distances", a, b, own.duration, least) for a, b in zip(mine, theirs, strict=True)]
    if own.volume is not None and reference.volume is not None and not any(found):
        found.append(_opposite("volumes", own.volume, reference.volume, own.duration, least))
    return max(filter(None, found), key=lambda one: abs(one.gap), default=None)


def _opposite(what: str, own: np.ndarray, reference: np.ndarray, time: float, least: float) -> Disagreement | None:
    """The disagreement about one rate, (n,), if its sign differs."""
    bounds = lambda values: of_mean(float(values.mean()), standard_error(values), len(values))
    a, b, apart = bounds(own), bounds(reference), bounds(time * (reference - own))
    opposite = (a.high < 0 < b.low) or (b.high < 0 < a.low)
    if not opposite or min(abs(apart.low), abs(apart.high)) <= least:
        return None
    gap = time * float((reference - own).mean())
    return Disagreement(what, float(own.mean()), float(reference.mean()), gap, apart)

"""Growing: growth rates under one solver as plain numbers, and whether two solvers disagree about their sign."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Float

from ...errors import UserError
from ...solvers.base.solution import Status
from ...solvers.base.solver import AbstractSolver
from .interval import Interval, of_mean, of_share, standard_error


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
        rests: Equilibria of the field, (m, d); NaN where none was found. None if none were looked for.
        rest_rates: The largest growth rate close to each, (m,).
    """

    rates: Float[np.ndarray, "n k"]
    volume: Float[np.ndarray, " n"] | None
    duration: float
    rests: Float[np.ndarray, "m d"] | None = None
    rest_rates: Float[np.ndarray, " m"] | None = None


class Disagreement(NamedTuple):
    """A growth rate with one sign under the own solver and the other under a reference.

    Attributes:
        what: "distances", on average over the trajectories, or "volumes", along a share of them.
        own, reference: The means, for volumes along the trajectories of that share, in units of 1 / time.
        value: For distances, reference minus own, times the duration: the logarithm of the factor between the two.
            For volumes the share.
        interval: The confidence interval of `value`.
        most: The bound that `value` exceeds.
    """

    what: str
    own: float
    reference: float
    value: float
    interval: Interval
    most: float


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
    return Grown(rates, volume, float(found.duration), *_at_rests(found)) if whole else None


def _at_rests(found: Rates) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Equilibria, and the largest growth rate close to each: of the eigenvalues of the solver's map."""
    rests = getattr(found, "rests", None)
    if rests is None:
        return None, None
    states, maps = np.asarray(rests.states, np.float64), np.asarray(rests.maps, np.float64)
    known = np.isfinite(states).all(1) & np.isfinite(maps).all((1, 2))
    largest = np.full(len(states), np.nan)
    with np.errstate(divide="ignore"):  # a map that is zero: solutions come to rest at once
        largest[known] = np.log(np.abs(np.linalg.eigvals(maps[known])).max(axis=1)) / float(rests.interval)
    return states, largest


def disagreement(own: Grown, reference: Grown, least: float, most: float) -> Disagreement | None:
    """A rate whose sign differs: of distances first, else of volumes. None if no sign differs.

    The rate of distances is a mean: with confidence over the trajectories, it is below zero under one solver and above
    under the other, and the two are so far apart that distances differ by more than `least` at the end. Shear makes
    distances grow for a while and can hide a wrong sign. It does not change volumes, whose rate counts along each
    trajectory: with confidence, more than `most` of them have opposite signs and volumes that differ by more than
    `least` at the end. An equilibrium that repels where it should attract shows this way, close to it.

    Args:
        own, reference: Rates along the same n trajectories.
        least: A relative difference of distances, or volumes.
        most: A share of the trajectories.
    """
    if len(own.rates) < 2 or own.rates.shape != reference.rates.shape:
        return None
    rates = zip(own.rates.T, reference.rates.T, strict=True)
    distances = [_opposite_means(mine, theirs, own.duration, least) for mine, theirs in rates]
    worst = max(filter(None, distances), key=lambda one: abs(one.value), default=None)
    if worst is not None or own.volume is None or reference.volume is None:
        return worst
    return _opposite_share(own.volume, reference.volume, own.duration, least, most)


def opposite_rest(own: Grown, reference: Grown, least: float) -> tuple[np.ndarray, float, float] | None:
    """The equilibrium that attracts under one solver and repels under the other, and the two rates; None if none does.

    Args:
        own, reference: With the equilibria of the same search.
        least: By so much distances differ at the end of the duration, relative to themselves.
    """
    mine, theirs = own.rest_rates, reference.rest_rates
    if mine is None or theirs is None or own.rests is None or mine.shape != theirs.shape:
        return None
    with np.errstate(invalid="ignore"):
        apart = np.abs(theirs - mine) * own.duration
        opposite = (np.sign(mine) * np.sign(theirs) < 0) & (apart > least)
    if not opposite.any():
        return None
    worst = int(np.argmax(np.where(opposite, apart, -np.inf)))
    return own.rests[worst], float(mine[worst]), float(theirs[worst])


def _opposite_means(own: np.ndarray, reference: np.ndarray, time: float, least: float) -> Disagreement | None:
    """Whether the mean of one rate of distances, (n,), changes its sign."""
    bounds = lambda values: of_mean(float(values.mean()), standard_error(values), len(values))
    a, b, apart = bounds(own), bounds(reference), bounds(time * (reference - own))
    opposite = (a.high < 0 < b.low) or (b.high < 0 < a.low)
    if not opposite or min(abs(apart.low), abs(apart.high)) <= least:
        return None
    gap = time * float((reference - own).mean())
    return Disagreement("distances", float(own.mean()), float(reference.mean()), gap, apart, least)


def _opposite_share(
    own: np.ndarray, reference: np.ndarray, time: float, least: float, most: float
) -> Disagreement | None:
    """Whether the rate of volumes, (n,), changes its sign along too many trajectories, from below zero or to it."""
    apart = time * (reference - own)
    kinds = [(own < 0) & (reference > 0) & (apart > least), (own > 0) & (reference < 0) & (apart < -least)]
    worst = max(kinds, key=np.count_nonzero)
    count, n = int(np.count_nonzero(worst)), len(worst)
    interval = of_share(count, n)
    if interval.low <= most:
        return None
    mean = lambda rates: float(rates[worst].mean())
    return Disagreement("volumes", mean(own), mean(reference), count / n, interval, most)

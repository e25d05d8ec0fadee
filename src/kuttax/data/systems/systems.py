"""Systems: ordinary differential equations whose trajectories the dynamics task can generate."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # which imports each of its parts when it is used
from jaxtyping import Float

from ...errors import UserError
from . import kuramoto_sivashinsky as ks
from .trajectory import Trajectory

TOLERANCE = 1e-10
"""Relative and absolute tolerance of the solves that generate data."""

SystemState = Float[np.ndarray, "d n"]


@dataclass(frozen=True, kw_only=True)
class System:
    """A system with its default observations.

    Attributes:
        dimension: The number of components of its state.
        rate: The derivatives of n states side by side, components first; None for a partial differential equation,
            which has its own integrator.
        low, high: Starts are uniform between them.
        spin_up: The time before the first observation, to reach the attractor, if there is one.
        interval: The time between observations.
        samples: Observations of a trajectory.
        trajectories: The number of trajectories.
        lyapunov: The largest Lyapunov exponent; None if it is not positive.
    """

    dimension: int
    rate: Callable[[SystemState], Any] | None
    low: tuple[float, ...]
    high: tuple[float, ...]
    spin_up: float = 0.0
    interval: float
    samples: int
    trajectories: int
    lyapunov: float | None = None


def _lorenz63(x: SystemState) -> list[Any]:
    return [10.0 * (x[1] - x[0]), x[0] * (28.0 - x[2]) - x[1], x[0] * x[1] - 8.0 / 3.0 * x[2]]


def _lorenz96(x: SystemState) -> SystemState:
    return np.roll(x, 1, 0) * (np.roll(x, -1, 0) - np.roll(x, 2, 0)) - x + 8.0


def _lotka_volterra(x: SystemState) -> list[Any]:
    prey, predator = x
    return [1.5 * prey - prey * predator, prey * predator - 3.0 * predator]


def _pendulum(x: SystemState) -> list[Any]:
    return [x[1], -9.81 * np.sin(x[0]) - 0.3 * x[1]]


def _van_der_pol(x: SystemState) -> list[Any]:
    return [x[1], 2.0 * (1.0 - x[0] ** 2) * x[1] - x[0]]


SYSTEMS: dict[str, System] = {
    "lorenz63": System(
        dimension=3,
        rate=_lorenz63,
        low=(-10.0, -10.0, 15.0),
        high=(10.0, 10.0, 35.0),
        spin_up=10.0,
        interval=0.05,
        samples=201,
        trajectories=40,
        lyapunov=0.9056,  # Sprott, Chaos and Time-Series Analysis (2003)
    ),
    "lorenz96": System(
        dimension=40,
        rate=_lorenz96,
        low=(7.0,) * 40,
        high=(9.0,) * 40,
        spin_up=20.0,
        interval=0.05,
        samples=201,
        trajectories=40,
        lyapunov=1.68,  # F = 8: Karimi & Paul, Chaos 20, 043105 (2010)
    ),
    "lotka-volterra": System(
        dimension=2,
        rate=_lotka_volterra,
        low=(1.0, 0.5),
        high=(5.0, 3.0),
        interval=0.1,
        samples=101,
        trajectories=40,
    ),
    "pendulum": System(
        dimension=2,
        rate=_pendulum,
        low=(-2.5, -2.0),
        high=(2.5, 2.0),
        interval=0.1,
        samples=101,
        trajectories=40,
    ),
    "van-der-pol": System(
        dimension=2,
        rate=_van_der_pol,
        low=(-3.0, -3.0),
        high=(3.0, 3.0),
        interval=0.1,
        samples=101,
        trajectories=40,
    ),
    "kuramoto-sivashinsky": System(
        dimension=ks.POINTS,
        rate=None,
        low=(-1.0,) * ks.POINTS,
        high=(1.0,) * ks.POINTS,
        spin_up=60.0,
        interval=0.25,
        samples=201,
        trajectories=20,
        lyapunov=0.048,  # L = 22: Cvitanovic, Davidchack & Siminos, SIAM J. Appl. Dyn. Syst. 9 (2010)
    ),
}
"""Lorenz (1963); Lorenz (1996) with F = 8; Lotka-Volterra with rates 1.5, 1, 1, 3; a pendulum with friction; van der
Pol's oscillator with mu = 2; Kuramoto-Sivashinsky on a periodic interval of length 22."""


def generate(
    name: str,
    *,
    trajectories: int | None = None,
    samples: int | None = None,
    interval: float | None = None,
    irregular: float = 0.0,
    seed: int = 0,
) -> list[Trajectory]:
    """Draws trajectories of a system, each from its own start, at a tolerance of 1e-10.

    Args:
        name: One of `SYSTEMS`.
        trajectories, samples, interval: The number of trajectories, the observations of each, and the mean time between
            these; None for the system's defaults.
        irregular: Each time except the first is moved by up to this share of half an interval to either side.
        seed: Draws starts and times.

    Raises:
        UserError: The system is unknown, or a number is out of its range.
    """
    if name not in SYSTEMS:
        raise UserError(f"unknown system {name!r}; known: {', '.join(SYSTEMS)}")
    system = SYSTEMS[name]
    count = system.trajectories if trajectories is None else trajectories
    samples = system.samples if samples is None else samples
    interval = system.interval if interval is None else interval
    for what, value, least in (("trajectories", count, 1), ("samples", samples, 2), ("seed", seed, 0)):
        if value < least:
            raise UserError(f"{name}: {what} must be >= {least}, got {value}")
    if not 0 < interval < np.inf:
        raise UserError(f"{name}: the interval between observations must be a number > 0, got {interval}")
    if not 0 <= irregular < 1:
        raise UserError(f"{name}: irregular must lie in [0, 1), got {irregular}")
    rng = np.random.default_rng(seed)
    start = rng.uniform(system.low, system.high, (count, system.dimension))
    moved = irregular * rng.uniform(-0.5, 0.5, (count, samples))
    moved[:, 0] = 0.0
    times = interval * (np.arange(samples) + moved)
    states = ks.integrate(start, times, system.spin_up) if system.rate is None else _integrate(system, start, times)
    return [Trajectory(t, x, np.zeros((samples, 0))) for t, x in zip(times, states, strict=True)]


def _integrate(
    system: System, start: Float[np.ndarray, "n d"], times: Float[np.ndarray, "n times"]
) -> Float[np.ndarray, "n times d"]:
    """Integrate all trajectories side by side, with one call of the rate for all."""
    n, d = start.shape
    assert system.rate is not None
    rate = system.rate
    tolerance = TOLERANCE / np.sqrt(n)  # the error is a mean over all: then none of them exceeds it

    def slope(t: float, flat: np.ndarray) -> np.ndarray:
        del t
        return np.asarray(rate(flat.reshape(d, n))).reshape(-1)

    def solve(begin: float, end: float, flat: np.ndarray, dense: bool) -> Any:
        span, method = (begin, end), "DOP853"
        return scipy.integrate.solve_ivp(slope, span, flat, method, rtol=tolerance, atol=tolerance, dense_output=dense)

    flat = start.T.reshape(-1)
    if system.spin_up:
        flat = solve(-system.spin_up, 0.0, flat, False).y[:, -1]
    solution = solve(0.0, float(times.max()), flat, True).sol
    if (times == times[0]).all():
        return solution(times[0]).reshape(d, n, -1).transpose(1, 2, 0)
    return np.stack([solution(times[i]).reshape(d, n, -1)[:, i].T for i in range(n)])

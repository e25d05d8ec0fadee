"""Four systems whose solutions come to rest, or to one cycle: data, and the growth rate at the rest."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from kuttax.data.systems.trajectory import Trajectory

TRAJECTORIES, SAMPLES = 60, 31
LONG = 40  # observations: how far ahead a learned field is solved
_TOLERANCE = 1e-11


@dataclass(frozen=True)
class Damped:
    """A system in the plane.

    Attributes:
        rate: dx/dt of a state, (2,).
        centre: Starts lie around this point; Newton's method finds the equilibrium from here.
        radii: The smallest and the largest distance of a start from it.
        interval: The time between observations.
        depth: Hidden layers of the network that learns it; 0 for a linear field.
    """

    rate: Callable[[np.ndarray], np.ndarray]
    centre: tuple[float, float]
    radii: tuple[float, float]
    interval: float
    depth: int = 2

    def trajectories(self, seed: int = 0) -> list[Trajectory]:
        """Exact observations from random starts."""
        rng = np.random.default_rng(seed)
        t = self.interval * np.arange(SAMPLES)
        return [
            Trajectory(t, solved(self.rate, start, t), np.zeros((SAMPLES, 0)))
            for start in self._starts(rng, TRAJECTORIES)
        ]

    @property
    def ahead(self) -> tuple[np.ndarray, np.ndarray]:
        """The start and the times of the path that pictures show."""
        return np.array(self.centre) + np.array([self.radii[1], 0.0]), self.interval * np.linspace(
            0, LONG, 10 * LONG + 1
        )

    def _starts(self, rng: Any, n: int) -> np.ndarray:
        angle, radius = rng.uniform(0, 2 * np.pi, n), rng.uniform(*self.radii, n)
        return np.array(self.centre) + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)

    @property
    def eigenvalues(self) -> np.ndarray:
        """The eigenvalues of the true field at its equilibrium."""
        return eigenvalues(self.rate, np.array(self.centre))

    @property
    def true_rate(self) -> float:
        """The largest real part of the eigenvalues: below zero, solutions nearby come to rest."""
        return float(self.eigenvalues.real.max())


def solved(rate: Callable[[np.ndarray], np.ndarray], start: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The exact solution at these times, up to 1e-11."""
    tolerances = {"rtol": _TOLERANCE, "atol": _TOLERANCE}
    return scipy.integrate.solve_ivp(lambda _, x: rate(x), (t[0], t[-1]), start, "DOP853", t, **tolerances).y.T


def equilibrium(rate: Callable[[np.ndarray], np.ndarray], guess: np.ndarray) -> np.ndarray | None:
    """The rest of a field near a guess; None if there is none."""
    found = scipy.optimize.root(rate, guess, options={"eps": 1e-3})
    return found.x if np.abs(rate(found.x)).max() < 1e-4 else None


def eigenvalues(rate: Callable[[np.ndarray], np.ndarray], guess: np.ndarray, h: float = 1e-5) -> np.ndarray:
    """The eigenvalues of a field's Jacobian at its rest near a guess, largest real part first; NaN without one."""
    rest = equilibrium(rate, guess)
    if rest is None:
        return np.full(len(guess), np.nan, complex)
    found = np.linalg.eigvals(jacobian(rate, rest, h))
    return found[np.argsort(-found.real)]


def jacobian(rate: Callable[[np.ndarray], np.ndarray], x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    """The Jacobian by central differences."""
    return np.stack([(rate(x + h * e) - rate(x - h * e)) / (2 * h) for e in np.eye(len(x))], axis=1)


_GAIN, _TURN = 0.25, 1.5


def _rotation(x: np.ndarray) -> np.ndarray:
    return np.array([-0.05 * x[0] - 1.5 * x[1], 1.5 * x[0] - 0.05 * x[1]])


def _pendulum(x: np.ndarray) -> np.ndarray:
    return np.array([x[1], -np.sin(x[0]) - 0.05 * x[1]])


def _fitzhugh_nagumo(x: np.ndarray) -> np.ndarray:
    v, w = x
    return np.array([v - v**3 / 3 - w, 0.08 * (v + 0.7 - 0.8 * w)])


def _cycle(x: np.ndarray) -> np.ndarray:
    gain = _GAIN * (1 - x @ x)
    return np.array([gain * x[0] - _TURN * x[1], _TURN * x[0] + gain * x[1]])


SYSTEMS = {
    "rotation": Damped(_rotation, (0.0, 0.0), (0.5, 2.0), 1.0, depth=0),
    "pendulum": Damped(_pendulum, (0.0, 0.0), (0.3, 2.0), 1.5),
    "fitzhugh-nagumo": Damped(_fitzhugh_nagumo, (-1.1994, -0.6243), (0.02, 0.1), 4.0),
    "limit-cycle": Damped(_cycle, (0.0, 0.0), (0.1, 1.5), 1.0),
}
"""A damped rotation (linear); a pendulum with friction; FitzHugh and Nagumo's neuron below its threshold of firing; the
normal form of a Hopf bifurcation, whose rest repels and whose solutions approach the unit circle."""

"""Fixed-step methods in NumPy, in float64, with the rounding of another dtype drawn at random.

One draw has no rounding: it is the reference. How far the others are from it bounds what rounding may do
(Monte Carlo arithmetic; Parker 1997), whatever the field makes of small errors.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 12


@dataclass(frozen=True)
class Rounding:
    """What one operation loses, relative to its result.

    Attributes:
        field: In the field.
        sums: In the solver's sums.
        time: Of a time, absolute.
    """

    field: float
    sums: float
    time: float


class Noisy:
    """A field on states (draws, samples, components), with rounding in all draws but the first, and a counter.

    Args:
        slope: (t, z) to dz/dt.
        rounding: What operations lose.
        rng: Draws it.
    """

    def __init__(self, slope: Callable, rounding: Rounding, rng: np.random.Generator):
        self.slope, self.rounding, self.rng, self.calls, self.largest = slope, rounding, rng, 0, 0.0

    def __call__(self, t: float, z: np.ndarray) -> np.ndarray:
        self.calls += 1
        times = t + self._noise(z[..., :1]) * (self.rounding.time + self.rounding.field * abs(t))
        k = self._rounded(self.slope(times, self._rounded(z, self.rounding.field)), self.rounding.field)
        self.largest = max(self.largest, np.max(np.abs(k[0]), initial=0), np.max(np.abs(z[0]), initial=0))
        return k

    def add(self, z: np.ndarray, change: np.ndarray) -> np.ndarray:
        """z + change."""
        return self._rounded(z + change, self.rounding.sums)

    def weighted(self, h: float, weights: np.ndarray, ks: list[np.ndarray]) -> np.ndarray:
        """h times the sum of the slopes with their weights; there may be fewer slopes than weights."""
        terms = (self._rounded(h * w * k, self.rounding.sums) for w, k in zip(weights, ks, strict=False) if w)
        return sum(terms, np.zeros((DRAWS, 1, 1)))

    def _rounded(self, z: np.ndarray, unit: float) -> np.ndarray:
        return z * (1 + unit * self._noise(z))

    def _noise(self, z: np.ndarray) -> np.ndarray:
        noise = self.rng.uniform(-1, 1, z.shape)
        noise[0] = 0
        return noise


@dataclass(frozen=True)
class Coefficients:
    """A table of Runge-Kutta coefficients in float64, one row a step: a (N, s, s), b (N, s), h (N,)."""

    a: np.ndarray
    b: np.ndarray
    h: np.ndarray

    def increment(self, f: Noisy, n: int, t: float, h: float, z: np.ndarray) -> np.ndarray:
        """What step n adds to z, of size h from t."""
        ks = []
        for row in self.a[n]:
            ks.append(f(t + h * row.sum(), f.add(z, f.weighted(h, row, ks))))
        return f.weighted(h, self.b[n], ks)

    def cross(self, f: Noisy, state: tuple, t0: float, t1: float) -> tuple:
        """The state (z,) at t1 from that at t0."""
        (z,) = state
        for n, t, h in self._grid(t0, t1):
            z = f.add(z, self.increment(f, n, t, h, z))
        return (z,)

    def _grid(self, t0: float, t1: float):
        starts = np.cumsum(self.h) - self.h
        return [(n, t0 + (t1 - t0) * starts[n], (t1 - t0) * self.h[n]) for n in range(len(self.h))]


@dataclass(frozen=True)
class Coupled(Coefficients):
    """The reversible scheme over a table (McCallum & Foster 2024, arXiv 2410.11648)."""

    coupling: float = 0.999

    def cross(self, f: Noisy, state: tuple, t0: float, t1: float) -> tuple:
        """The state (y, z) at t1 from that at t0; it starts as (y0,)."""
        y, z = state if len(state) == 2 else (*state, *state)
        for n, t, h in self._grid(t0, t1):
            mixed = self.coupling * y + (1 - self.coupling) * z
            y = f.add(mixed, self.increment(f, n, t, h, z))
            z = f.add(z, -self.increment(f, n, t + h, -h, y))
        return (y, z)


def through(method: Coefficients, f: Noisy, z0: np.ndarray, times: Sequence[float]) -> list[np.ndarray]:
    """The states at `times`, which begin at the start; an interval of length zero is not crossed."""
    state, states = (f.add(np.broadcast_to(z0, (DRAWS, *z0.shape)), np.zeros(1)),), []
    with np.errstate(all="ignore"):
        for t0, t1 in itertools.pairwise(times):
            state = method.cross(f, state, t0, t1) if t1 != t0 else state
            states.append(state[0])
    return states

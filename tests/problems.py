"""Classic initial value problems, and their solutions from outside: closed forms and SciPy's DOP853 at 1e-12.

Every field is arithmetic on numbers, good for NumPy (the reference) and JAX (what is tested) alike.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import expm

WIDTH = 4
"""Components of the widest problem; the others are padded with zeros, so that one compiled solve serves all."""


@dataclass(frozen=True)
class ClassicProblem:
    """dy/dt = slopes(t, y), y(t0) = y0, up to t1; `flow(t)` is the closed form where there is one."""

    name: str
    slopes: Callable
    y0: tuple[float, ...]
    t0: float
    t1: float
    flow: Callable[[float], np.ndarray] | None = None

    @property
    def start(self) -> np.ndarray:
        """y0, padded."""
        return np.pad(np.array(self.y0), (0, WIDTH - len(self.y0)))

    @functools.cached_property
    def reference(self) -> Callable[[float], np.ndarray]:
        """The solution at a time, unpadded: DOP853 at 1e-12."""

        def field(t, y):
            return np.array(self.slopes(t, y))

        def at(t):
            span = (self.t0, float(t))
            return solve_ivp(field, span, self.y0, method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]

        return at

    @functools.cached_property
    def end(self) -> np.ndarray:
        """The reference at t1, padded."""
        return np.pad(self.reference(self.t1), (0, WIDTH - len(self.y0)))


def exponential(t, y):
    """Growth at rate 1/2, seen from t = 0 on."""
    return (0.5 * y[0],)


def harmonic(t, y):
    """The unit circle."""
    return -y[1], y[0]


def lotka_volterra(t, y):
    """Prey and predator, in units that leave one parameter."""
    return y[0] * (1 - y[1]), 0.7 * y[1] * (y[0] - 1)


def lorenz(t, y):
    """Lorenz (1963) with his parameters."""
    return 10 * (y[1] - y[0]), y[0] * (28 - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]


def van_der_pol(t, y):
    """mu = 1."""
    return y[1], (1 - y[0] ** 2) * y[1] - y[0]


def brusselator(t, y):
    """Lefever & Nicolis (1971) with A = 1, B = 3; Hairer, Norsett & Wanner I, I.16."""
    return 1 + y[0] ** 2 * y[1] - 4 * y[0], 3 * y[0] - y[0] ** 2 * y[1]


def arenstorf(t, y):
    """The restricted three-body problem (Arenstorf 1963), y = (x1, x2, v1, v2); Hairer, Norsett & Wanner I, II.0.1."""
    moon = 0.012277471
    earth = 1 - moon
    to_earth = ((y[0] + moon) ** 2 + y[1] ** 2) ** 1.5
    to_moon = ((y[0] - earth) ** 2 + y[1] ** 2) ** 1.5
    return (
        y[2],
        y[3],
        y[0] + 2 * y[3] - earth * (y[0] + moon) / to_earth - moon * (y[0] - earth) / to_moon,
        y[1] - 2 * y[2] - earth * y[1] / to_earth - moon * y[1] / to_moon,
    )


LINEAR = np.array([[-0.3, 1.2, 0.0, 0.1], [-1.0, -0.1, 0.4, 0.0], [0.2, 0.0, -1.5, 0.3], [0.0, -0.5, 0.6, -0.2]])
_LINEAR_START = (1.0, -0.5, 2.0, 0.3)


def linear(t, y):
    """dy/dt = LINEAR y."""
    return tuple(sum(float(a) * y[j] for j, a in enumerate(row)) for row in LINEAR)


def logistic(t, y):
    """Growth towards one; solved backwards in time."""
    return (y[0] * (1 - y[0]),)


def _circle(t):
    return np.array([np.cos(t) - 0.5 * np.sin(t), np.sin(t) + 0.5 * np.cos(t)])


_ARENSTORF_START = (0.994, 0.0, 0.0, -2.00158510637908252240537862224)

PROBLEMS = (
    ClassicProblem("exponential", exponential, (1.5,), 0.0, 3.0, lambda t: np.array([1.5 * np.exp(t / 2)])),
    ClassicProblem("harmonic", harmonic, (1.0, 0.5), 0.0, 10.0, _circle),
    ClassicProblem("lotka_volterra", lotka_volterra, (2.0, 0.5), 0.0, 10.0),
    ClassicProblem("lorenz", lorenz, (1.0, 1.0, 1.0), 0.0, 2.0),
    ClassicProblem("van_der_pol", van_der_pol, (2.0, 0.0), 0.0, 8.0),
    ClassicProblem("brusselator", brusselator, (1.5, 3.0), 0.0, 10.0),
    ClassicProblem("arenstorf", arenstorf, _ARENSTORF_START, 0.0, 5.0),
    ClassicProblem("linear", linear, _LINEAR_START, 0.0, 5.0, lambda t: expm(t * LINEAR) @ _LINEAR_START),
    ClassicProblem("logistic_back", logistic, (0.9,), 2.0, -3.0, lambda t: 1 / (1 + np.exp(2.0 - t) / 9)),
    ClassicProblem("van_der_pol_back", van_der_pol, (0.5, 0.5), 1.0, -2.0),
)


def any_problem(t, y, index):
    """The field of PROBLEMS[index], padded."""

    def branch(problem):
        def slopes(t, y):
            inner = problem.slopes(t, y)
            return jnp.stack([*inner, *[jnp.zeros_like(y[0])] * (WIDTH - len(inner))])

        return slopes

    return jax.lax.switch(index, [branch(problem) for problem in PROBLEMS], t, y)


def circle_and_bell(t, y, args):
    """Solved by (cos t, sin t, 1 / (1 + t^2)): coupled, non-linear and dependent on time."""
    del args
    u, v, w = y
    return jnp.stack([-v * (u * u + v * v), u * (u * u + v * v), -2 * t * w * w])


def solution(t):
    """What `circle_and_bell` is solved by, at the times t: components along the last axis."""
    return np.stack([np.cos(t), np.sin(t), 1 / (1 + np.square(t))], axis=-1)

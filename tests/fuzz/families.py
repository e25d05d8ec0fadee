"""Fields whose solutions are known in closed form, in units of their own: time from 0 on, states of order one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_STIFF = 4.0


@dataclass(frozen=True)
class Family:
    """dz/dt = slope(xp, t, z, p) with the parameter p, for `xp` NumPy or jax.numpy; two components along the last axis.

    Attributes:
        slope: The field.
        flow: (t, z0, p) to the solution at t; NaN where there is none.
        timed: Whether the field depends on time.
        alive: (z0, p) to the time until which a solver can get.
        spread: (t, z0, p) to a bound on how much an error made before t has grown at t.
    """

    name: str
    slope: Callable[[Any, Any, Any, Any], Any]
    flow: Callable[[Any, Any, Any], Any]
    timed: bool = False
    alive: Callable[[Any, Any], Any] = lambda z0, p: np.inf + 0 * z0[..., 0]
    spread: Callable[[Any, Any, Any], Any] = lambda t, z0, p: 1 + 0 * z0[..., 0]


def _rotate(xp, t, z, p):
    return p * xp.stack([-z[..., 1], z[..., 0]], -1)


def _rotated(t, z0, p):
    x, y, cos, sin = z0[..., 0], z0[..., 1], np.cos(p * t), np.sin(p * t)
    return np.stack([cos * x - sin * y, sin * x + cos * y], -1)


def _logistic(t, z0, p):
    return 1 / (1 + (1 / z0 - 1) * np.exp(-t))


def _logistic_spread(t, z0, p):
    z = _logistic(t, z0, p)
    return np.max(np.maximum(1, z * (1 - z) / (z0 * (1 - z0))), -1)


def _blown_up(t, z0, p):
    return np.where(z0 * t < 1, z0 / np.where(z0 * t < 1, 1 - z0 * t, 1), np.nan)


def _blown_up_spread(t, z0, p):
    return np.max(np.square(_blown_up(t, z0, p) / z0), -1)


def _wall(xp, t, z, p):
    return xp.where(t < p, xp.ones_like(z), xp.full_like(z, xp.nan))


def _relaxed(t, z0, p):
    return np.cos(t) + (z0 - 1) * np.exp(-_STIFF * t)


AUTONOMOUS = (
    Family("zero", lambda xp, t, z, p: xp.zeros_like(z), lambda t, z0, p: z0 + 0 * t),
    Family("decay", lambda xp, t, z, p: -p * z, lambda t, z0, p: z0 * np.exp(-p * t)),
    Family(
        "growth",
        lambda xp, t, z, p: p * z,
        lambda t, z0, p: z0 * np.exp(p * t),
        spread=lambda t, z0, p: np.exp(p * t) + 0 * z0[..., 0],
    ),
    Family("rotation", _rotate, _rotated),
    Family("logistic", lambda xp, t, z, p: z * (1 - z), _logistic, spread=_logistic_spread),
    Family(
        "blow-up",
        lambda xp, t, z, p: z * z,
        _blown_up,
        alive=lambda z0, p: np.min(1 / z0, -1),
        spread=_blown_up_spread,
    ),
    Family(
        "root",
        lambda xp, t, z, p: -xp.sqrt(z),
        lambda t, z0, p: np.square(np.maximum(np.sqrt(z0) - t / 2, 0)),
        alive=lambda z0, p: np.min(2 * np.sqrt(z0), -1),
    ),
)

TIMED = (
    Family("cosine", lambda xp, t, z, p: 0 * z + p * xp.cos(p * t), lambda t, z0, p: z0 + np.sin(p * t), timed=True),
    Family("polynomial", lambda xp, t, z, p: 0 * z + 3 * p * t * t, lambda t, z0, p: z0 + p * t**3, timed=True),
    Family(
        "wall",
        _wall,
        lambda t, z0, p: np.where(t < p, z0 + t, np.nan),
        timed=True,
        alive=lambda z0, p: p + 0 * z0[..., 0],
    ),
    Family("relaxation", lambda xp, t, z, p: -_STIFF * (z - xp.cos(t)) - xp.sin(t), _relaxed, timed=True),
)

"""The spiral SDE: a cubic oscillator whose noise grows with its state (Pal et al., ICML 2021)."""

import numpy as np
from jaxtyping import Float

START = (2.0, 0.0)
"""The start of every trajectory."""

TIMES = np.linspace(0.0, 1.0, 30)
"""The observation times."""

_A, _B, _GAMMA = 0.1, 2.0, 0.2
_SUBSTEPS = 10  # steps in an interval between two observations


def trajectories(n: int, seed: int) -> Float[np.ndarray, "n times 2"]:
    """n trajectories of the Ito SDE, observed at `TIMES`, the start among them.

        du = (-a u^3 + b v^3) dt + gamma u dW_1
        dv = (-b u^3 - a v^3) dt + gamma v dW_2        a = 0.1, b = 2, gamma = 0.2, (u, v)(0) = (2, 0)

    (Pal, Ma, Shah & Rackauckas, ICML 2021, arXiv 2105.03918, section 4.3). The noise commutes, so that the classical
    Runge-Kutta scheme on the Stratonovich form, W going straight between its values, has strong order 1; its drift
    errors are of fourth order.
    """
    rng = np.random.default_rng(seed)
    h = (TIMES[1] - TIMES[0]) / _SUBSTEPS
    y = np.tile(START, (n, 1))
    seen = [y]
    for _ in TIMES[1:]:
        for _ in range(_SUBSTEPS):
            y = _step(y, h, np.sqrt(h) * rng.standard_normal(y.shape))
        seen.append(y)
    return np.stack(seen, axis=1)


def _step(y: np.ndarray, h: float, dw: np.ndarray) -> np.ndarray:
    """One step of RK4 along dy/dt = drift + gamma y dW/h, the Stratonovich SDE with W straight on the step."""
    slope = lambda y: _drift(y) + _GAMMA * y * (dw / h)
    k1 = slope(y)
    k2 = slope(y + h / 2 * k1)
    k3 = slope(y + h / 2 * k2)
    k4 = slope(y + h * k3)
    return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def _drift(y: np.ndarray) -> np.ndarray:
    """The drift of the Stratonovich form: smaller by gamma^2 y / 2."""
    u, v = (y * y * y).T
    return np.stack([_B * v - _A * u, -_B * u - _A * v], axis=1) - _GAMMA**2 / 2 * y

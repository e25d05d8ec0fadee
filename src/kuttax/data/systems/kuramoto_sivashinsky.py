"""Kuramoto-Sivashinsky: u_t = -u u_x - u_xx - u_xxxx on a periodic interval, by ETDRK4 in Fourier space."""

import numpy as np
from jaxtyping import Complex, Float

LENGTH, POINTS = 22.0, 64
"""The length of the interval, and the number of observed points."""

TOLERANCE = 1e-10
"""Tolerance of the error over one interval, estimated by halving the steps."""

_ORDER = 4
_SPIN_UP_STEP = 0.1  # coarse: the exact point on the attractor does not matter
_CONTOUR = np.exp(1j * np.pi * (np.arange(1, 33) - 0.5) / 32)


def integrate(
    start: Float[np.ndarray, "n points"], times: Float[np.ndarray, "n times"], spin_up: float
) -> Float[np.ndarray, "n times points"]:
    """The solutions at `times`, from the states after `spin_up` from `start`.

    The step is halved until the error over the first interval is 1e-10. The mean of u, which the equation conserves, is
    set to zero.

    Args:
        start: Any states.
        times: The times of each solution, increasing; the first is that of the state after `spin_up`.
        spin_up: Time before the first observation.
    """
    v = np.fft.rfft(start - start.mean(axis=1, keepdims=True))
    if spin_up:
        v = _cross(v, np.full(len(v), spin_up), int(np.ceil(spin_up / _SPIN_UP_STEP)))
    gaps = np.diff(times, axis=1)
    longest = gaps.max()
    steps = _steps(v, np.full(len(v), longest))
    states = [v]
    for gap in gaps.T:
        v = _cross(v, gap, int(np.ceil(steps * gap.max() / longest)))
        states.append(v)
    return np.fft.irfft(np.stack(states, axis=1), POINTS)


def _steps(v: Complex[np.ndarray, "n modes"], gap: Float[np.ndarray, " n"]) -> int:
    """The number of steps that is accurate enough over an interval."""
    steps, end = 4, _cross(v, gap, 4)
    while steps < 4096:
        finer = _cross(v, gap, 2 * steps)
        apart = np.abs(np.fft.irfft(finer - end, POINTS)).max()
        steps, end = 2 * steps, finer
        if apart <= (2**_ORDER - 1) * TOLERANCE:
            break
    return steps


def _cross(
    v: Complex[np.ndarray, "n modes"], span: Float[np.ndarray, " n"], steps: int
) -> Complex[np.ndarray, "n modes"]:
    """The state after `span`, in `steps` steps: Kassam & Trefethen, SIAM J. Sci. Comput. 26 (2005), equations 20-29."""
    k = 2 * np.pi / LENGTH * np.arange(POINTS // 2 + 1)
    h = (span[:1] if np.ptp(span) == 0 else span)[:, None] / steps
    linear = h * (k**2 - k**4)
    whole, half = np.exp(linear), np.exp(linear / 2)
    q, f1, f2, f3 = _coefficients(linear)
    g = -0.5j * k * h

    def nonlinear(v: np.ndarray) -> np.ndarray:
        return g * np.fft.rfft(np.fft.irfft(v, POINTS) ** 2)

    for _ in range(steps):
        nv = nonlinear(v)
        a = half * v + q * nv
        na = nonlinear(a)
        nb = nonlinear(half * v + q * na)
        nc = nonlinear(half * a + q * (2 * nb - nv))
        v = whole * v + f1 * nv + 2 * f2 * (na + nb) + f3 * nc
    return v


def _coefficients(z: Float[np.ndarray, "n modes"]) -> tuple[np.ndarray, ...]:
    """The weights of the nonlinear terms: means over a circle around h L, where no digits cancel."""
    r = z[..., None] + _CONTOUR
    mean = lambda values: values.mean(axis=-1).real
    return (
        mean((np.exp(r / 2) - 1) / r),
        mean((-4 - r + np.exp(r) * (4 - 3 * r + r**2)) / r**3),
        mean((2 + r + np.exp(r) * (r - 2)) / r**3),
        mean((-4 - 3 * r - r**2 + np.exp(r) * (4 - r)) / r**3),
    )

"""SRKTableau: the coefficients of a stochastic Runge-Kutta method, and two methods of Rößler."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

Coefficient = Float[Array | np.ndarray, "..."]


class SRKTableau(eqx.Module):
    r"""A stochastic Runge-Kutta method of Rößler's SRI and SRA families (SIAM J. Numer. Anal. 48(3), 2010).

    $$H_i = y + h \sum_j A^0_{ij} f_j + \sum_j B^0_{ij} g_j I_{10}/h, \quad f_i = f(t + c^0_i h, H_i)$$
    $$\hat H_i = y + h \sum_j A^1_{ij} f_j + \sqrt h \sum_j B^1_{ij} g_j, \quad g_i = g(t + c^1_i h, \hat H_i)$$
    $$y_1 = y + h \sum_i \alpha_i f_i + \sum_i (\beta^1_i I_1 + \beta^2_i I_{11}/\sqrt h + \beta^3_i I_{10}/h
    + \beta^4_i I_{111}/h)\, g_i$$

    with $I_1 = \Delta W$, $I_{11} = (\Delta W^2 - h)/2$, $I_{111} = (\Delta W^3 - 3 h \Delta W)/6$, and $I_{10}$ the
    integral of $W$ above its start. The coefficients of one step, or of all steps with a leading axis.

    Attributes:
        a0, b0, a1, b1: Strictly lower triangular, shape (s, s).
        c0, c1, alpha: Shape (s,).
        beta: The weights of the four integrals, shape (4, s).
        used: Which coefficients are not structural zeros (static).
        name: Its name in tables and messages.
    """

    a0: Coefficient
    b0: Coefficient
    a1: Coefficient
    b1: Coefficient
    c0: Coefficient
    c1: Coefficient
    alpha: Coefficient
    beta: Coefficient
    used: "Used" = eqx.field(static=True)
    name: str = eqx.field(static=True)

    @property
    def stages(self) -> int:
        """The number of stages s."""
        return len(self.used.alpha)

    @property
    def drifts(self) -> int:
        """Evaluations of the drift in a step."""
        return sum(self.used.f(i) for i in range(self.stages))

    @property
    def diffusions(self) -> int:
        """Evaluations of the diffusion in a step."""
        return sum(self.used.g(i) for i in range(self.stages))


Mask = tuple[bool, ...]


class Used(NamedTuple):
    """Which coefficients of an `SRKTableau` are non-zero: entries marked false are never computed."""

    a0: tuple[Mask, ...]
    b0: tuple[Mask, ...]
    a1: tuple[Mask, ...]
    b1: tuple[Mask, ...]
    alpha: Mask
    beta: tuple[Mask, ...]

    def f(self, i: int) -> bool:
        """Whether the drift of stage i is used."""
        return self.alpha[i] or any(row[i] for row in (*self.a0, *self.a1))

    def g(self, i: int) -> bool:
        """Whether the diffusion of stage i is used."""
        return any(row[i] for row in (*self.b0, *self.b1, *self.beta))


def _tableau(name: str, a0, b0, a1, b1, alpha, beta, c1: Sequence[float] | None = None) -> SRKTableau:
    s = len(alpha)
    a0, b0, a1, b1 = (np.array([[*row, *[0.0] * (s - len(row))] for row in rows]) for rows in (a0, b0, a1, b1))
    alpha, beta = np.array(alpha), np.array(beta)
    c0, c1_ = a0.sum(1), a1.sum(1) if c1 is None else np.array(c1)
    used = Used(_mask(a0), _mask(b0), _mask(a1), _mask(b1), _mask(alpha[None])[0], _mask(beta))
    return SRKTableau(a0, b0, a1, b1, c0, c1_, alpha, beta, used, name)


def _mask(rows: np.ndarray) -> tuple[Mask, ...]:
    return tuple(tuple(bool(entry) for entry in row != 0) for row in rows)


SRI1W1 = _tableau(
    "SRI1W1",
    a0=[[], [3 / 4], [], []],
    b0=[[], [3 / 2], [], []],
    a1=[[], [1 / 4], [1], [1 / 4]],  # the published third drift is at the step's start, so it equals the first
    b1=[[], [1 / 2], [-1], [-5, 3, 1 / 2]],
    alpha=[1 / 3, 2 / 3, 0, 0],
    beta=[[-1, 4 / 3, 2 / 3, 0], [-1, 4 / 3, -1 / 3, 0], [2, -4 / 3, -2 / 3, 0], [-2, 5 / 3, -2 / 3, 1]],
)
"""Ito SDEs with diagonal or scalar noise: strong order 3/2, weak order 2 (Rößler 2010, table 6.1)."""

SRA1 = _tableau(
    "SRA1",
    a0=[[], [3 / 4]],
    b0=[[], [3 / 2]],
    a1=[[], []],
    b1=[[], []],
    alpha=[1 / 3, 2 / 3],
    beta=[[1, 0], [0, 0], [-1, 1], [0, 0]],
    c1=[1, 0],
)
"""SDEs with additive noise: strong order 3/2, weak order 2 (Rößler 2010, table 6.2)."""

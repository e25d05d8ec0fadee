"""EulerMaruyama: the Euler scheme for Ito SDEs."""

from typing import Any, ClassVar

import jax

from ..._types import State, Time
from ..base.registry import register_solver
from .fixed_sde import AbstractSDESolver, Draw
from .sde import Calculus, Noise, Terms


@register_solver({"steps": int, "refine": int})
class EulerMaruyama(AbstractSDESolver):
    """y1 = y + h f(t, y) + g(t, y) dW, for Ito SDEs with any noise (Maruyama 1955; Kloeden & Platen 1992, 10.2).

    Strong order 1/2 (1 with additive noise), weak order 1.
    """

    noises: ClassVar[tuple[Noise, ...]] = ("diagonal", "scalar", "general", "additive")
    calculi: ClassVar[tuple[Calculus, ...]] = ("ito",)
    uses_mean: ClassVar[bool] = False
    strong_order: ClassVar[float] = 0.5

    def step(self, terms: Terms, t: Time, y: State, h: Time, draw: Draw, row: Any) -> State:
        del row
        noise = terms.times(terms.diffusion(t, y), draw.dw)
        return jax.tree.map(lambda y, f, noise: y + h * f + noise, y, terms.drift(t, y), noise)

    def evaluations(self, noise: Noise) -> tuple[int, int]:
        del noise
        return 1, 1

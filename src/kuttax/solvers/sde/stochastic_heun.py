"""StochasticHeun: the trapezoidal predictor-corrector for Stratonovich SDEs."""

from typing import Any, ClassVar

import jax

from ..._types import State, Time
from ..base.registry import register_solver
from .fixed_sde import AbstractSDESolver, Draw
from .sde import Calculus, Noise, Terms


@register_solver({"steps": int, "refine": int})
class StochasticHeun(AbstractSDESolver):
    """z = y + h f(y) + g(y) dW, then y1 = y + h (f(y) + f(z)) / 2 + (g(y) + g(z)) dW / 2, for Stratonovich SDEs.

    Rümelin 1982 (SIAM J. Numer. Anal. 19(3)). Any noise; strong order 1 if it commutes (scalar, additive, or diagonal
    with each entry depending only on its own entry of y), else 1/2; weak order 1.
    """

    noises: ClassVar[tuple[Noise, ...]] = ("diagonal", "scalar", "general", "additive")
    calculi: ClassVar[tuple[Calculus, ...]] = ("stratonovich",)
    uses_mean: ClassVar[bool] = False
    strong_order: ClassVar[float] = 1.0

    def step(self, terms: Terms, t: Time, y: State, h: Time, draw: Draw, row: Any) -> State:
        del row
        f, noise = terms.drift(t, y), terms.times(terms.diffusion(t, y), draw.dw)
        z = jax.tree.map(lambda y, f, noise: y + h * f + noise, y, f, noise)
        f_end, noise_end = terms.drift(t + h, z), terms.times(terms.diffusion(t + h, z), draw.dw)
        mean = lambda y, f, f_end, noise, noise_end: y + h * (f + f_end) / 2 + (noise + noise_end) / 2
        return jax.tree.map(mean, y, f, f_end, noise, noise_end)

    def evaluations(self, noise: Noise) -> tuple[int, int]:
        del noise
        return 2, 2

"""Platen: strong order 1 for commuting noise, without derivatives."""

from typing import Any, ClassVar

import jax

from ..._types import State, Time
from ..base.registry import register_solver
from .fixed_sde import AbstractSDESolver, Draw
from .sde import Calculus, Noise, Terms


@register_solver({"steps": int, "refine": int})
class Platen(AbstractSDESolver):
    """y1 = y + h f + g dW + 1/2 (g(u) - g) (dW^2 - h) / sqrt(h), with u = y + h f + sqrt(h) g. For Ito SDEs.

    The explicit strong scheme of Kloeden & Platen 1992, 11.1: `Milstein` with a difference in place of the derivative.
    For scalar noise, and for diagonal noise if each entry of the diffusion depends only on its own entry of y. Strong
    and weak order 1. Two evaluations of the diffusion a step.
    """

    noises: ClassVar[tuple[Noise, ...]] = ("diagonal", "scalar")
    calculi: ClassVar[tuple[Calculus, ...]] = ("ito",)
    uses_mean: ClassVar[bool] = False
    strong_order: ClassVar[float] = 1.0

    def step(self, terms: Terms, t: Time, y: State, h: Time, draw: Draw, row: Any) -> State:
        del row
        ahead = jax.tree.map(lambda y, f: y + h * f, y, terms.drift(t, y))
        g = terms.diffusion(t, y)
        support = jax.tree.map(lambda ahead, g: ahead + draw.root * g, ahead, g)
        change = jax.tree.map(lambda there, here: there - here, terms.diffusion(t, support), g)
        second = jax.tree.map(lambda w: draw.root * (w * w - 1) / 2, draw.w)  # (dW^2 - h) / (2 sqrt(h))
        add = lambda y, *parts: sum(parts, start=y)
        return jax.tree.map(add, ahead, terms.times(g, draw.dw), terms.times(change, second))

    def evaluations(self, noise: Noise) -> tuple[int, int]:
        del noise
        return 1, 2

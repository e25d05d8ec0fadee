"""Milstein: strong order 1 for commuting noise, with the derivative of the diffusion."""

from typing import Any, ClassVar

import jax

from ..._types import State, Time
from ..base.registry import register_solver
from .fixed_sde import AbstractSDESolver, Draw
from .sde import Calculus, Noise, Terms


@register_solver({"steps": int, "refine": int})
class Milstein(AbstractSDESolver):
    """y1 = y + h f + g dW + 1/2 (D g) g (dW^2 - h); for a Stratonovich SDE without the last h.

    Milstein 1974; Kloeden & Platen 1992, 10.3. For scalar noise, for diagonal noise if each entry of the diffusion
    depends only on its own entry of y, and for additive noise, where it equals the Euler scheme. Strong and weak order
    1. The derivative costs one Jacobian-vector product of the diffusion a step, which does not count as an evaluation.
    """

    noises: ClassVar[tuple[Noise, ...]] = ("diagonal", "scalar", "additive")
    calculi: ClassVar[tuple[Calculus, ...]] = ("ito", "stratonovich")
    uses_mean: ClassVar[bool] = False
    strong_order: ClassVar[float] = 1.0

    def step(self, terms: Terms, t: Time, y: State, h: Time, draw: Draw, row: Any) -> State:
        del row
        y1 = jax.tree.map(lambda y, f: y + h * f, y, terms.drift(t, y))
        add = lambda y, *parts: sum(parts, start=y)
        if terms.sde.noise == "additive":
            return jax.tree.map(add, y1, terms.times(terms.diffusion(t, y), draw.dw))
        g, derivative = jax.linearize(lambda y: terms.diffusion(t, y), y)
        drop = h if terms.sde.calculus == "ito" else 0.0
        second = jax.tree.map(lambda dw: (dw * dw - drop) / 2, draw.dw)
        return jax.tree.map(add, y1, terms.times(g, draw.dw), terms.times(derivative(g), second))

    def evaluations(self, noise: Noise) -> tuple[int, int]:
        del noise
        return 1, 1

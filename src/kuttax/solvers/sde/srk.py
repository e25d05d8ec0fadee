"""SRK: a stochastic Runge-Kutta scheme of strong order 3/2."""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from ..._types import State, Time
from ..base.registry import register_solver
from ..rk.stages import combine
from .fixed_sde import AbstractSDESolver, Draw
from .sde import Calculus, Noise, Terms
from .srk_tableau import SRA1, SRI1W1, SRKTableau


@register_solver({"steps": int, "refine": int})
class SRK(AbstractSDESolver):
    """Rößler's SRA1 for additive noise, his SRI1W1 for diagonal or scalar noise (Ito SDEs).

    Strong order 3/2; with diagonal noise, if each entry of the diffusion depends only on its own entry of y. Weak order
    2. A step takes two evaluations of the drift, and two (additive) or four of the diffusion.
    """

    noises: ClassVar[tuple[Noise, ...]] = ("diagonal", "scalar", "additive")
    calculi: ClassVar[tuple[Calculus, ...]] = ("ito",)
    uses_mean: ClassVar[bool] = True
    strong_order: ClassVar[float] = 1.5

    def step(self, terms: Terms, t: Time, y: State, h: Time, draw: Draw, row: Any) -> State:
        del row
        return srk_step(_tableau(terms.sde.noise), terms, t, y, h, draw)

    def evaluations(self, noise: Noise) -> tuple[int, int]:
        tableau = _tableau(noise)
        return tableau.drifts, tableau.diffusions


def _tableau(noise: Noise) -> SRKTableau:
    return SRA1 if noise == "additive" else SRI1W1


def srk_step(tableau: SRKTableau, terms: Terms, t: Time, y: State, h: Time, draw: Draw) -> State:
    """One step of an `SRKTableau`: the state at its end."""
    use, cast = tableau.used, lambda x: jnp.asarray(x, h.dtype)
    a0, b0, a1, b1, c0, c1, alpha, beta = (
        cast(getattr(tableau, name)) for name in ("a0", "b0", "a1", "b1", "c0", "c1", "alpha", "beta")
    )
    scaled = lambda of: jax.tree.map(lambda w: draw.root * of(w), draw.w)
    mean = jax.tree.map(lambda mean: draw.root * mean, draw.mean)
    # W, and its integrals I_11 / sqrt(h), I_10 / h and I_111 / h, all of the size of sqrt(h).
    integrals = draw.dw, scaled(lambda w: (w * w - 1) / 2), mean, scaled(lambda w: (w * w - 3) * w / 6)
    fs: list[Any] = []
    gs: list[Any] = []
    for i in range(tableau.stages):
        f = g = None
        if use.f(i):
            start = combine(y, h, a0[i], fs, use.a0[i][:i])
            f = terms.drift(t + c0[i] * h, _plus_noise(terms, start, b0[i], gs, use.b0[i], mean))
        if use.g(i):
            start = combine(combine(y, h, a1[i], fs, use.a1[i][:i]), draw.root, b1[i], gs, use.b1[i][:i])
            g = terms.diffusion(t + c1[i] * h, start)
        fs.append(f)
        gs.append(g)
    y1 = combine(y, h, alpha, fs, use.alpha)
    for k, integral in enumerate(integrals):
        y1 = _plus_noise(terms, y1, beta[k], gs, use.beta[k], integral)
    return y1


def _plus_noise(terms: Terms, y: State, weights: Any, gs: Sequence[Any], used: Sequence[bool], dw: Any) -> State:
    """y + (sum_i weights_i g_i) dW."""
    chosen = [i for i in range(len(gs)) if used[i]]
    if not chosen:
        return y
    total = jax.tree.map(
        lambda *g: sum(weights[i] * x for i, x in zip(chosen, g, strict=True)), *[gs[i] for i in chosen]
    )
    return jax.tree.map(jnp.add, y, terms.times(total, dw))

"""The stages of one explicit Runge-Kutta step, on any pytree (Hairer, Norsett & Wanner I, II.1)."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jaxtyping import Array, Float

from ..._types import State, Time
from ..base.spread import spread


def combine(y: State, h: Time, weights: Any, ks: Sequence[State], used: Sequence[bool] | None = None) -> State:
    """y + h sum_i weights_i k_i, without the terms that `used` (static) marks as structural zeros.

    `weights` is indexed by stage; its entries are scalars, or one number for each sample if h has one for each sample.
    """
    chosen = [i for i in range(len(ks)) if used is None or used[i]]
    if not chosen:
        return y
    factors = [h * weights[i] for i in chosen]

    def on_leaf(leaf: Array, *slopes: Array) -> Array:
        total = spread(factors[0], leaf) * slopes[0]
        for factor, slope in zip(factors[1:], slopes[1:], strict=True):
            total = total + spread(factor, leaf) * slope
        return leaf + total

    return jax.tree.map(on_leaf, y, *[ks[i] for i in chosen])


def scaled(y: State, factor: Any) -> State:
    """y times a scalar."""
    return jax.tree.map(lambda leaf: spread(factor, leaf) * leaf, y)


def scaled_stages(
    f: Callable[[Time, State], State],
    t: Time,
    y: State,
    h: Time,
    a: Float[Array, "s s"],
    c: Float[Array, " s"],
    scales: Float[Array, " s+1"],
) -> list[State]:
    """The slopes k_i = f(t + c_i h, scale_i y + h sum_j a_ij k_j), of a sampler."""
    ks: list[State] = []
    for i in range(len(c)):
        ks.append(f(t + c[i] * h, combine(scaled(y, scales[i]), h, a[i], ks)))
    return ks


def stages(
    f: Callable[[Time, State], State],
    t: Time,
    y: State,
    h: Time,
    a: Float[Array, "s s"],
    c: Float[Array, " s"],
    sparsity: tuple[tuple[bool, ...], ...],
    k1: State | None = None,
) -> list[State]:
    """The slopes k_i = f(t + c_i h, y + h sum_j a_ij k_j). Pass `k1` if it is already known.

    The stages are unrolled, not looped over, so that XLA fuses each stage's sum into the field's first operation.
    """
    ks = [f(t, y) if k1 is None else k1]
    for i in range(1, len(sparsity)):
        ks.append(f(t + c[i] * h, combine(y, h, a[i], ks, sparsity[i])))
    return ks

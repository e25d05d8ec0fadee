"""Step-size control: the error norm, Hairer's initial step, and the PI rule."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._types import State, Time
from .stages import combine


class Controller(eqx.Module):
    """The PI controller h <- h * safety * E^-((icoeff+pcoeff)/k) * E_previous^(pcoeff/k), within factor limits.

    k is one more than the order of the error estimate. The defaults are those of Hairer's DOPRI5 (Hairer, Norsett &
    Wanner I, II.4; Hairer & Wanner II, IV.2: beta = 0.04, alpha = 1/5 - 0.75 beta). pcoeff=0, icoeff=1 is plain
    integral control.

    Attributes:
        rtol, atol: A step is taken where its error norm, scaled by atol + rtol |y|, is at most one.
        pcoeff, icoeff: Proportional and integral coefficients.
        safety, factor_min, factor_max: Safety factor and the limits of one change.
    """

    rtol: Array
    atol: Array
    pcoeff: Array
    icoeff: Array
    safety: Array
    factor_min: Array
    factor_max: Array

    def scaled(self, value: State, y: State, y1: State) -> State:
        """value / (atol + rtol max(|y|, |y1|)), entry by entry."""

        def on_leaf(v: Array, a: Array, b: Array) -> Array:
            scale = self.atol.astype(v.dtype) + self.rtol.astype(v.dtype) * jnp.maximum(jnp.abs(a), jnp.abs(b))
            return v / scale

        return jax.tree.map(on_leaf, value, y, y1)

    def factor(self, error: Time, previous: Time, k: int) -> Time:
        """The change of step that the norms of this step's error and of the last accepted one's ask for."""
        tiny = jnp.finfo(error.dtype).tiny
        error, previous = jnp.maximum(error, tiny), jnp.maximum(previous, tiny)
        factor = self.safety * error ** (-(self.icoeff + self.pcoeff) / k) * previous ** (self.pcoeff / k)
        # A NaN error is a step far too long; so is an infinite one.
        factor = jnp.where(jnp.isfinite(error), factor, self.factor_min)
        return jnp.clip(factor, self.factor_min, jnp.where(error <= 1, self.factor_max, jnp.ones_like(factor)))


def rms(tree: State, per_sample: bool) -> Time:
    """Root mean square over all entries, or over each sample's own."""
    leaves = jax.tree.leaves(tree)
    kept = 1 if per_sample else 0
    squares = sum(jnp.sum(jnp.square(x), axis=tuple(range(kept, x.ndim))) for x in leaves)
    entries = sum(x.size // (x.shape[0] if per_sample else 1) for x in leaves)
    mean = squares / max(entries, 1)
    nothing = mean == 0  # where the root has no derivative
    return jnp.where(nothing, jnp.zeros_like(mean), jnp.sqrt(jnp.where(nothing, jnp.ones_like(mean), mean)))


def initial_step(
    f: Any, t0: Time, y0: State, k1: State, span: Time, controller: Controller, k: float, norm: Any
) -> Time:
    """The size of a first step, without sign, at most |span| (Hairer, Norsett & Wanner I, II.4, "starting step size").

    It evaluates the field once more.
    """
    d0, d1 = norm(controller.scaled(y0, y0, y0)), norm(controller.scaled(k1, y0, y0))
    small = (d0 < 1e-5) | (d1 < 1e-5)
    h0 = jnp.where(small, 1e-6, 0.01 * d0 / jnp.where(small, 1, d1))
    h0 = jnp.minimum(h0, jnp.abs(span))
    step = h0 * jnp.sign(span)
    slope = f(t0 + step, combine(y0, step, [jnp.ones_like(step)], [k1]))
    change = norm(controller.scaled(jax.tree.map(jnp.subtract, slope, k1), y0, y0))
    d2 = change / jnp.where(h0 > 0, h0, 1)
    largest = jnp.maximum(d1, d2)
    flat = largest <= 1e-15
    h1 = jnp.where(flat, jnp.maximum(1e-6, h0 * 1e-3), (0.01 / jnp.where(flat, 1, largest)) ** (1 / k))
    return jnp.minimum(jnp.minimum(100 * h0, h1), jnp.abs(span))

"""Step-size control: the error norm, Hairer's initial step, and the PI rule."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._types import State, Time
from ..base.spread import spread
from .stages import combine


class Controller(eqx.Module):
    """The PI controller h <- h * safety * E^-((icoeff+pcoeff)/k) * E_previous^(pcoeff/k), within factor limits.

    k is one more than the order of the error estimate. The defaults are those of Hairer's DOPRI5 (Hairer, Norsett &
    Wanner I, II.4; Hairer & Wanner II, IV.2: beta = 0.04, alpha = 1/5 - 0.75 beta). pcoeff=0, icoeff=1 is plain
    integral control.

    Attributes:
        rtol, atol: A step is accepted if its error norm, scaled by atol + rtol |y|, is at most one.
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
        """value / (atol + rtol max(|y|, |y1|)), entry by entry: the value in units of the tolerance.

        If the tolerance is zero (atol = 0 and both states are zero), the result is zero for a zero value and infinite
        for any other. The result is NaN if a state is not finite; no such step is accepted.
        """

        def on_leaf(v: Array, a: Array, b: Array) -> Array:
            unit = self.atol.astype(v.dtype) + self.rtol.astype(v.dtype) * jnp.maximum(jnp.abs(a), jnp.abs(b))
            least = jnp.maximum(unit, jnp.finfo(v.dtype).tiny)
            return jnp.where(unit < jnp.inf, v / least, jnp.nan)  # false of NaN

        return jax.tree.map(on_leaf, value, y, y1)

    def factor(self, error: Time, previous: Time, k: int) -> Time:
        """The factor of the next step size, from the error norms of this step and of the last accepted one."""
        tiny = jnp.finfo(error.dtype).tiny
        error, previous = jnp.maximum(error, tiny), jnp.maximum(previous, tiny)
        factor = self.safety * error ** (-(self.icoeff + self.pcoeff) / k) * previous ** (self.pcoeff / k)
        # A NaN or infinite error means that the step is far too long.
        factor = jnp.where(jnp.isfinite(error), factor, self.factor_min)
        return jnp.clip(factor, self.factor_min, jnp.where(error <= 1, self.factor_max, jnp.ones_like(factor)))


def rms(tree: State, per_sample: bool) -> Time:
    """Root mean square over all entries, or over the entries of each sample.

    Squares of entries above 1e19 overflow float32. Use it for numbers in units of a tolerance only: there an infinite
    result is harmless.
    """
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
    """The size of the first step, without sign, at most |span| (Hairer, Norsett & Wanner I, II.4).

    Hairer's rule compares the first with the second derivatives; its constants, 1e-6 and 1e-5, depend on the user's
    unit of time. Here the unit of time is T: the length of the interval, or, if longer, the time in which the solution
    or its slope changes by its own size. So the same problem in another unit takes the same steps. If T is 1, the rule
    is Hairer's. If the field is not finite at the trial step, the step is a thousandth of the trial.

    It costs one evaluation of the field.
    """
    length = jnp.abs(span)

    def change_of(slope: State) -> Time:
        """The change over the interval at this slope, in units of the tolerance."""
        return norm(jax.tree.map(lambda x: x * spread(length, x), controller.scaled(slope, y0, y0)))

    d0, d1 = norm(controller.scaled(y0, y0, y0)), change_of(k1)
    small = (d0 < 1e-5) | ~(d1 >= 1e-5) | (d1 == jnp.inf)  # ~ holds of NaN
    ratio = d0 / d1
    trial = jnp.where(small, 1e-6, jnp.minimum(0.01 * ratio, 1))  # this and what follows in units of the interval
    step = trial * span
    slope = f(t0 + step, combine(y0, step, [jnp.ones_like(step)], [k1]))
    change = change_of(jax.tree.map(jnp.subtract, slope, k1))
    own = jnp.minimum(ratio, trial * (d1 / change))
    unit = jnp.where(small, 1, jnp.maximum(own, 1))
    steep = unit * jnp.maximum(d1, unit * (change / trial))  # the larger of the first two derivatives
    h1 = jnp.where(steep <= 1e-15, jnp.maximum(1e-6, 1e-3 * trial), unit * (0.01 / steep) ** (1 / k))
    h = jnp.minimum(jnp.minimum(100 * trial, h1), 1)
    return length * jnp.where(jnp.isfinite(steep), h, 1e-3 * trial)

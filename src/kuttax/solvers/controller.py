"""Step-size control: the error norm, Hairer's initial step, and the PI rule."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._types import State, Time
from .stages import combine, spread


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
        """value / (atol + rtol max(|y|, |y1|)), entry by entry: in units of the tolerance."""
        return jax.tree.map(jnp.multiply, value, self.per_unit(y, y1))

    def per_unit(self, y: State, y1: State) -> State:
        """1 / (atol + rtol max(|y|, |y1|)), entry by entry.

        Where the tolerance is zero (atol = 0 and both states are zero) it is the largest there is: zero is no error
        there, and everything else is one beyond measure. It is NaN where a state is not finite: no such step is ever
        accepted.
        """

        def on_leaf(a: Array, b: Array) -> Array:
            unit = self.atol.astype(a.dtype) + self.rtol.astype(a.dtype) * jnp.maximum(jnp.abs(a), jnp.abs(b))
            some = 1 / jnp.maximum(unit, jnp.finfo(a.dtype).tiny)
            return jnp.where(unit < jnp.inf, some, jnp.nan)  # false of NaN

        return jax.tree.map(on_leaf, y, y1)

    def factor(self, error: Time, previous: Time, k: int) -> Time:
        """The change of step that the norms of this step's error and of the last accepted one's ask for."""
        tiny = jnp.finfo(error.dtype).tiny
        error, previous = jnp.maximum(error, tiny), jnp.maximum(previous, tiny)
        factor = self.safety * error ** (-(self.icoeff + self.pcoeff) / k) * previous ** (self.pcoeff / k)
        # A NaN error is a step far too long; so is an infinite one.
        factor = jnp.where(jnp.isfinite(error), factor, self.factor_min)
        return jnp.clip(factor, self.factor_min, jnp.where(error <= 1, self.factor_max, jnp.ones_like(factor)))


def rms(tree: State, per_sample: bool) -> Time:
    """Root mean square over all entries, or over each sample's own.

    Squares of entries above 1e19 overflow float32. An error of that size may as well be infinite; elsewhere use
    `safe_rms`.
    """
    leaves = jax.tree.leaves(tree)
    squares = sum(jnp.sum(jnp.square(x), axis=_own_axes(x, per_sample)) for x in leaves)
    entries = sum(x.size // (x.shape[0] if per_sample else 1) for x in leaves)
    mean = squares / max(entries, 1)
    nothing = mean == 0  # where the root has no derivative
    return jnp.where(nothing, jnp.zeros_like(mean), jnp.sqrt(jnp.where(nothing, jnp.ones_like(mean), mean)))


def safe_rms(tree: State, per_sample: bool) -> Time:
    """`rms` for entries of any size, in a second pass: the largest one is divided out before squares are taken."""
    largest = [jnp.max(jnp.abs(x), axis=_own_axes(x, per_sample)) for x in jax.tree.leaves(tree) if x.size]
    if not largest:
        return rms(tree, per_sample)
    unit = jax.lax.stop_gradient(jnp.max(jnp.stack(largest), 0))
    unit = jnp.where(unit > 0, unit, jnp.ones_like(unit))
    return unit * rms(jax.tree.map(lambda x: x / spread(unit, x), tree), per_sample)


def _own_axes(x: Array, per_sample: bool) -> tuple[int, ...]:
    return tuple(range(1 if per_sample else 0, x.ndim))


def initial_step(
    f: Any, t0: Time, y0: State, k1: State, span: Time, controller: Controller, k: float, norm: Any
) -> Time:
    """The size of a first step, without sign, at most |span| (Hairer, Norsett & Wanner I, II.4, "starting step size").

    Hairer's rule compares first with second derivatives and has constants of 1e-6 and 1e-5, all in the user's unit of
    time. Here the unit of time is T: the length of the interval, or, where that is longer, the time in which the
    solution or its slope changes by its own size. The same problem in another unit then takes the same steps. Where T
    is 1, the rule is Hairer's. Where the field is not finite at the trial step, the step is a thousandth of the trial.

    It evaluates the field once more. `norm` must not overflow: see `safe_rms`.
    """
    length = jnp.abs(span)
    d0, d1 = norm(controller.scaled(y0, y0, y0)), norm(controller.scaled(k1, y0, y0))
    small = (d0 < 1e-5) | (d1 * length < 1e-5)
    some = lambda x: jnp.where(x > 0, x, jnp.ones_like(x))  # noqa: E731
    h0 = jnp.minimum(jnp.where(small, 1e-6 * length, 0.01 * d0 / some(d1)), length)
    step = h0 * jnp.sign(span)
    slope = f(t0 + step, combine(y0, step, [jnp.ones_like(step)], [k1]))
    change = norm(controller.scaled(jax.tree.map(jnp.subtract, slope, k1), y0, y0))
    own = jnp.where(small | (change == 0), 0, jnp.minimum(d0 / some(d1), h0 * (d1 / some(change))))
    unit = some(jnp.maximum(length, own))
    first, second = d1 * unit, change * unit  # the latter times h0 / T: products that do not overflow
    share = h0 / unit
    flat = jnp.maximum(first, second / some(share)) <= 1e-15
    root = lambda small, large: (small / some(large)) ** (1 / k)  # noqa: E731
    by_first = jnp.where(first > 0, root(jnp.full_like(first, 0.01), first), jnp.inf)
    by_second = jnp.where(second > 0, (0.01 * share) ** (1 / k) * some(second) ** (-1 / k), jnp.inf)
    h1 = jnp.where(flat, jnp.maximum(1e-6 * length, h0 * 1e-3), unit * jnp.minimum(by_first, by_second))
    h = jnp.minimum(jnp.minimum(100 * h0, h1), length)
    return jnp.where(jnp.isfinite(change), h, 1e-3 * h0)

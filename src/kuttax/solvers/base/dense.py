"""Dense output: the solution between the steps, one polynomial for each step."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from ..._types import Count, State, Time
from ...errors import UserError
from .spread import pick, spread


class Pieces(NamedTuple):
    """The polynomials of the steps. With theta = (t - start) / size, step n is sum_j terms[j] theta^j.

    Attributes:
        t, h: The start and the size of every step, elapsed, (steps, *samples).
        terms: The coefficients, each shaped like the state with a leading axis for the steps.
    """

    t: Time
    h: Time
    terms: tuple[State, ...]


def horner(terms: tuple[State, ...], theta: Time) -> State:
    """sum_j terms[j] theta^j."""

    def on_leaf(*coefficients: Array) -> Array:
        total = coefficients[-1]
        for coefficient in coefficients[-2::-1]:
            total = total * spread(theta, total) + coefficient
        return total

    return jax.tree.map(on_leaf, *terms)


def share(t: Time, start: Time, h: Time) -> Time:
    """(t - start) / h; zero for a step of size zero."""
    some = h != 0
    return jnp.where(some, (t - start) / jnp.where(some, h, jnp.ones_like(h)), jnp.zeros_like(t))


def _array(t: ArrayLike) -> Any:
    """Times that are known as NumPy, in all their digits."""
    try:
        return np.asarray(t)
    except TypeError:  # a list that holds traced times
        return jnp.asarray(t)


def _in_words(t: Any, dtype: Any) -> tuple[Array, Array]:
    """t as a sum of two numbers of `dtype`: a late time has more digits than one."""
    first = t.astype(dtype)
    rest = t - first.astype(t.dtype)
    # Of an infinite time, and of one beyond the dtype, the rest is NaN: so is the state there.
    return jnp.asarray(first), jnp.asarray(rest.astype(dtype))


class DenseOutput(eqx.Module):
    """The solution as a function of time.

    Attributes:
        pieces: The polynomials of the steps.
        count: The number of steps: one number, or one for each sample.
        origin: The user's t0, which elapsed times count from.
        t0, t1: The ends of the solution, elapsed.
        samples: The number of samples; None if the state has no batch axis.
        rest: What `origin` lacks of the user's t0, because of its dtype.
        axis: The user's batch axis.
        dtype: The name of the dtype of the user's state; None: that of the polynomials.
    """

    pieces: Pieces
    count: Count
    origin: Any
    t0: Any
    t1: Any
    samples: int | None = eqx.field(static=True, default=None)
    rest: Any = 0.0
    axis: int = eqx.field(static=True, default=0)
    dtype: str | None = eqx.field(static=True, default=None)

    def evaluate(self, t: ArrayLike) -> State:
        """The state at t; NaN outside of the solved interval."""
        return self._at(t, lambda terms, theta, h: horner(terms, theta))

    def derivative(self, t: ArrayLike) -> State:
        """dy/dt at t, the derivative of the polynomial; NaN outside of the solved interval."""

        def of(terms: tuple[State, ...], theta: Time, h: Time) -> State:
            rate = 1 / jnp.where(h == 0, jnp.ones_like(h), h)
            slopes = [jax.tree.map(lambda x, j=j: j * x, term) for j, term in enumerate(terms)][1:]
            return jax.tree.map(lambda x: x * spread(rate, x), horner(tuple(slopes), theta))

        return self._at(t, of)

    def _at(self, t: ArrayLike, of: Any) -> State:
        time = t if isinstance(t, Array) else _array(t)
        if not jnp.issubdtype(time.dtype, jnp.floating):
            time = time.astype(self.pieces.t.dtype if isinstance(time, Array) else np.float64)
        if time.ndim > 2 or (time.ndim == 2 and (self.samples is None or len(time) != self.samples)):
            each = "" if self.samples is None else f", or (samples, times) with {self.samples} samples"
            raise UserError(f"t must be one time or an array of them, (times,){each}, got shape {time.shape}")
        one = lambda t, rest: self._one(t, rest, float(jnp.finfo(time.dtype).eps), of)
        words = _in_words(time, self.pieces.t.dtype)
        found = one(*words) if time.ndim == 0 else jax.vmap(one, in_axes=time.ndim - 1)(*words)
        return jax.tree.map(lambda x: self._as_the_users(x, several=time.ndim > 0), found)

    def _as_the_users(self, x: Array, *, several: bool) -> Array:
        """In the dtype of the user's state, with the samples on its batch axis."""
        x = x if self.dtype is None else x.astype(self.dtype)
        if self.axis == 0:
            return x
        return jnp.moveaxis(x, int(several), self.axis + several if self.axis > 0 else self.axis)

    def _one(self, t: Array, rest: Array, eps: float, of: Any) -> State:
        """At t + rest, one time or one for each sample; `eps` is the resolution in which the user gave it."""
        starts, sizes = self.pieces.t, self.pieces.h
        lanes = jnp.broadcast_shapes(t.shape, jnp.shape(self.origin), starts.shape[1:], jnp.shape(self.t1))
        each = lambda x: jnp.broadcast_to(x, lanes)
        since = (each(t) - each(self.origin)) + (each(rest) - each(jnp.asarray(self.rest, starts.dtype)))
        forward = jax.lax.stop_gradient(each(self.t1) >= each(self.t0))
        column = lambda x: x[:, None] if lanes and x.ndim == 1 else x
        shape = (len(starts), *lanes)
        nodes = jax.lax.stop_gradient(jnp.broadcast_to(column(starts), shape))
        rows = lambda x: jnp.broadcast_to(x[None], shape)
        passed = jnp.where(rows(forward), nodes <= rows(since), nodes >= rows(since))
        number = jnp.broadcast_to(jnp.arange(len(starts), dtype=jnp.int32).reshape(-1, *[1] * len(lanes)), shape)
        count = each(self.count.astype(jnp.int32))
        passed = passed & (number < rows(count))
        index = jnp.clip(jnp.sum(passed, axis=0, dtype=jnp.int32) - 1, 0, jnp.maximum(count - 1, 0))
        at = lambda x: pick(jnp.broadcast_to(column(x), shape), index)
        start, h = at(starts), at(sizes)
        terms = tuple(jax.tree.map(lambda x: pick(x, index), term) for term in self.pieces.terms)
        inside = self._inside(since, each(self.t0), each(self.t1), forward, eps) & (count > 0)
        # A polynomial at NaN, as after the end of a row, would make the gradient of the others NaN.
        found = of(terms, share(jnp.where(inside, since, jax.lax.stop_gradient(start)), start, h), h)
        return jax.tree.map(lambda x: jnp.where(spread(inside, x), x, jnp.nan), found)

    def _inside(self, t: Time, t0: Time, t1: Time, forward: Array, eps: float) -> Array:
        """Whether t lies between t0 and t1, give or take a few units in the last place."""
        t, t0, t1 = jax.lax.stop_gradient((t, t0, t1))
        late = jnp.abs(jnp.asarray(self.origin, t.dtype))
        slack = 4 * jnp.maximum(eps * late, jnp.finfo(t.dtype).eps * jnp.abs(t1))
        low, high = jnp.where(forward, t0, t1), jnp.where(forward, t1, t0)
        return (t >= low - slack) & (t <= high + slack)

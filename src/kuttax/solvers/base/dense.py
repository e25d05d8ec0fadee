"""Dense output: the solution between the steps, one polynomial for each step."""

from abc import abstractmethod
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


def derived(terms: tuple[State, ...]) -> tuple[State, ...]:
    """The coefficients of the derivative in theta."""
    return tuple(jax.tree.map(lambda x, j=j: j * x, term) for j, term in enumerate(terms) if j > 0)


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


class AbstractDense(eqx.Module):
    """The solution as a function of time.

    Attributes:
        origin: The user's t0, which elapsed times count from.
        t0, t1: The ends of the solution, elapsed.
        samples: The number of samples, if they may have times of their own; else None.
        rest: What `origin` lacks of the user's t0, because of its dtype.
        axis: The user's batch axis.
        dtype: The name of the dtype of the user's state; None: that of the solver's.
    """

    origin: Any = eqx.field(kw_only=True)
    t0: Any = eqx.field(kw_only=True)
    t1: Any = eqx.field(kw_only=True)
    samples: int | None = eqx.field(static=True, default=None, kw_only=True)
    rest: Any = eqx.field(default=0.0, kw_only=True)
    axis: int = eqx.field(static=True, default=0, kw_only=True)
    dtype: str | None = eqx.field(static=True, default=None, kw_only=True)

    @abstractmethod
    def value(self, since: Time) -> State:
        """The state at an elapsed time inside of the solution: one time, or one for each sample."""

    @abstractmethod
    def slope(self, since: Time) -> State:
        """dy/dt there."""

    def evaluate(self, t: ArrayLike) -> State:
        """The state at t; NaN outside of the solved interval."""
        return self._at(t, self.value)

    def derivative(self, t: ArrayLike) -> State:
        """dy/dt at t, the derivative of the polynomial; NaN outside of the solved interval."""
        return self._at(t, self.slope)

    @property
    def lanes(self) -> tuple[int, ...]:
        """The shape of a time: (), or (samples,) if samples have their own."""
        return jnp.broadcast_shapes(jnp.shape(self.origin), jnp.shape(self.t1))

    def _at(self, t: ArrayLike, of: Any) -> State:
        time = t if isinstance(t, Array) else _array(t)
        if not jnp.issubdtype(time.dtype, jnp.floating):
            time = time.astype(self.t1.dtype if isinstance(time, Array) else np.float64)
        if time.ndim > 2 or (time.ndim == 2 and (self.samples is None or len(time) != self.samples)):
            each = "" if self.samples is None else f", or (samples, times) with {self.samples} samples"
            raise UserError(f"t must be one time or an array of them, (times,){each}, got shape {time.shape}")
        one = lambda t, rest: self._one(t, rest, float(jnp.finfo(time.dtype).eps), of)
        words = _in_words(time, self.t1.dtype)
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
        lanes = jnp.broadcast_shapes(t.shape, self.lanes)
        each = lambda x: jnp.broadcast_to(x, lanes)
        since = (each(t) - each(self.origin)) + (each(rest) - each(jnp.asarray(self.rest, self.t1.dtype)))
        forward = jax.lax.stop_gradient(each(self.t1) >= each(self.t0))
        inside = self._inside(since, each(self.t0), each(self.t1), forward, eps)
        # A polynomial at NaN, as after the end of a row, would make the gradient of the others NaN.
        found = of(jnp.where(inside, since, jax.lax.stop_gradient(each(self.t0))))
        return jax.tree.map(lambda x: jnp.where(spread(inside, x), x, jnp.nan), found)

    def _inside(self, t: Time, t0: Time, t1: Time, forward: Array, eps: float) -> Array:
        """Whether t lies between t0 and t1, give or take a few units in the last place."""
        t, t0, t1 = jax.lax.stop_gradient((t, t0, t1))
        late = jnp.abs(jnp.asarray(self.origin, t.dtype))
        slack = 4 * jnp.maximum(eps * late, jnp.finfo(t.dtype).eps * jnp.abs(t1))
        low, high = jnp.where(forward, t0, t1), jnp.where(forward, t1, t0)
        return (t >= low - slack) & (t <= high + slack)


class DenseOutput(AbstractDense):
    """The solution as the polynomials of its steps.

    Attributes:
        pieces: The polynomials.
        count: The number of steps: one number, or one for each sample.
    """

    pieces: Pieces
    count: Count

    @property
    def lanes(self) -> tuple[int, ...]:
        return jnp.broadcast_shapes(super().lanes, self.pieces.t.shape[1:])

    def value(self, since: Time) -> State:
        terms, theta, _ = self._step(since)
        return horner(terms, theta)

    def slope(self, since: Time) -> State:
        terms, theta, h = self._step(since)
        rate = 1 / jnp.where(h == 0, jnp.ones_like(h), h)
        return jax.tree.map(lambda x: x * spread(rate, x), horner(derived(terms), theta))

    def _step(self, since: Time) -> tuple[tuple[State, ...], Time, Time]:
        """The polynomial of the step that contains an elapsed time, the share of the step, and the step's size."""
        starts, sizes, lanes = self.pieces.t, self.pieces.h, since.shape
        shape = (len(starts), *lanes)
        every = lambda x: jnp.broadcast_to(x[:, None] if lanes and x.ndim == 1 else x, shape)
        rows = lambda x: jnp.broadcast_to(x, shape)
        forward = jax.lax.stop_gradient(jnp.broadcast_to(self.t1, lanes) >= jnp.broadcast_to(self.t0, lanes))
        nodes = jax.lax.stop_gradient(every(starts))
        passed = jnp.where(rows(forward), nodes <= rows(since), nodes >= rows(since))
        count = jnp.broadcast_to(self.count.astype(jnp.int32), lanes)
        passed = passed & (every(jnp.arange(len(starts), dtype=jnp.int32)) < rows(count))
        index = jnp.clip(jnp.sum(passed, axis=0, dtype=jnp.int32) - 1, 0, jnp.maximum(count - 1, 0))
        start, h = pick(every(starts), index), pick(every(sizes), index)
        terms = tuple(jax.tree.map(lambda x: pick(x, index), term) for term in self.pieces.terms)
        known = lambda x: jnp.where(spread(count > 0, x), x, jnp.nan)  # a solve may fail in its first step
        return jax.tree.map(known, terms), share(since, start, h), h

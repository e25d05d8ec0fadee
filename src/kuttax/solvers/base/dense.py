"""Dense output: the solution between the steps, one polynomial for each step."""

from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
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


class HasTimes(Protocol):
    """What a solution needs of its dense output."""

    def evaluate(self, t: ArrayLike) -> State: ...
    def derivative(self, t: ArrayLike) -> State: ...


class DenseOutput(eqx.Module):
    """The solution as a function of time.

    Attributes:
        pieces: The polynomials of the steps.
        count: The number of steps: one number, or one for each sample.
        origin: The user's t0, which elapsed times count from.
        t0, t1: The ends of the solution, elapsed.
        samples: The number of samples; None if the state has no batch axis.
    """

    pieces: Pieces
    count: Count
    origin: Any
    t0: Any
    t1: Any
    samples: int | None = eqx.field(static=True, default=None)

    def evaluate(self, t: ArrayLike) -> State:
        """The state at t; NaN outside of the solved interval."""
        return self._at(t, lambda terms, theta, h: horner(terms, theta))

    def derivative(self, t: ArrayLike) -> State:
        """dy/dt at t, the derivative of the polynomial; NaN outside of the solved interval."""

        def of(terms: tuple[State, ...], theta: Time, h: Time) -> State:
            rate = 1 / jnp.where(h == 0, jnp.ones_like(h), h)
            return jax.tree.map(lambda x: x * spread(rate, x), horner(derived(terms), theta))

        return self._at(t, of)

    def _at(self, t: ArrayLike, of: Any) -> State:
        time = jnp.asarray(t)
        if not jnp.issubdtype(time.dtype, jnp.floating):
            time = time.astype(self.pieces.t.dtype)
        if time.ndim > 2 or (time.ndim == 2 and (self.samples is None or len(time) != self.samples)):
            each = "" if self.samples is None else f", or (samples, times) with {self.samples} samples"
            raise UserError(f"t must be one time or an array of them, (times,){each}, got shape {time.shape}")
        if time.ndim == 0:
            return self._one(time, of)
        return jax.vmap(lambda t: self._one(t, of), in_axes=time.ndim - 1)(time)

    def _one(self, t: Array, of: Any) -> State:
        """At one time, or at one for each sample."""
        starts, sizes = self.pieces.t, self.pieces.h
        wide = jnp.promote_types(t.dtype, starts.dtype)
        lanes = jnp.broadcast_shapes(t.shape, jnp.shape(self.origin), starts.shape[1:], jnp.shape(self.t1))
        each = lambda x: jnp.broadcast_to(x, lanes)
        since = (each(t).astype(wide) - each(jnp.asarray(self.origin, wide))).astype(starts.dtype)
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
        found = of(terms, share(since, start, h), h)
        inside = self._inside(since, each(self.t0), each(self.t1), forward) & (count > 0)
        return jax.tree.map(lambda x: jnp.where(spread(inside, x), x, jnp.nan), found)

    def _inside(self, t: Time, t0: Time, t1: Time, forward: Array) -> Array:
        """Whether t lies between t0 and t1, give or take a few units in the last place."""
        t, t0, t1 = jax.lax.stop_gradient((t, t0, t1))
        late = jnp.maximum(jnp.abs(jnp.asarray(self.origin, t.dtype)), jnp.abs(t1))
        slack = 4 * jnp.finfo(t.dtype).eps * late
        low, high = jnp.where(forward, t0, t1), jnp.where(forward, t1, t0)
        return (t >= low - slack) & (t <= high + slack)

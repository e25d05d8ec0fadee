"""Clock: reads the user's time off the time elapsed since t0, and a jump from the side of the step that reads it."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ...._types import Count, Time
from ..spread import pick


class Clock(eqx.Module):
    """Turns the time elapsed since the start of a solve into the time that the field receives.

    A step may end where the field jumps. Its last stage then reads the field at that time, and must read it as it is
    before the jump; the first stage of the next step, as it is after. So the time that a step reads is kept strictly
    between the jump before it and the jump after it.

    Attributes:
        origin: The user's t0, one number, or one for each sample.
        jumps: The user's times of the jumps, sorted from t0 on, (jumps, *samples); None if there are none.
        since: The same, elapsed.
        forward: Whether time grows from t0 to t1; one number, or one for each sample.
        dtype: The name of the dtype that the field computes in, if it is narrower than that of time.
    """

    origin: Any
    jumps: Any = None
    since: Any = None
    forward: Any = True
    dtype: str | None = eqx.field(static=True, default=None)

    def passed(self, t: Time) -> Count:
        """The number of jumps at or before the elapsed time t."""
        since = _beside(self.since, t)
        shape = jnp.broadcast_shapes(since.shape, (1, *jnp.shape(t)))
        since, t, forward = (jnp.broadcast_to(x, shape) for x in (since, t, self.forward))
        return jnp.sum(jnp.where(forward, since <= t, since >= t), axis=0, dtype=jnp.int32)

    def at_jump(self, t: Time) -> Array:
        """Whether there is a jump at the elapsed time t."""
        return self.jump(self.since, self.passed(t) - 1) == t

    def read(self, elapsed: Time, start: Time | None = None) -> Time:
        """The user's time.

        Args:
            elapsed: The time since t0.
            start: The start of the step that reads, elapsed; None: the step starts at `elapsed`.
        """
        time = self.origin + elapsed
        if self.jumps is None:
            return time
        passed = self.passed(elapsed if start is None else start)
        jumps = jnp.asarray(self.jumps, self.dtype)  # the narrower dtype, or the same
        least, most = jnp.finfo(jumps.dtype).min, jnp.finfo(jumps.dtype).max
        first, last = self.jump(jumps, passed - 1), self.jump(jumps, passed)
        low, high = jnp.where(self.forward, first, last), jnp.where(self.forward, last, first)
        low = jnp.maximum(_beside_number(low, jnp.inf), least)
        high = jnp.minimum(_beside_number(high, -jnp.inf), most)
        inside = jnp.clip(jax.lax.stop_gradient(time).astype(jumps.dtype), low, high).astype(time.dtype)
        return inside + (time - jax.lax.stop_gradient(time))  # zero, with the derivative of time

    def jump(self, jumps: Array, index: Count) -> Time:
        """The jump with this number; infinitely early before the first one, infinitely late after the last one."""
        last = len(jumps) - 1
        within = jnp.clip(index, 0, last)
        found = jumps[within] if jumps.ndim == 1 else pick(jumps, within)
        late = jnp.where(self.forward, jnp.inf, -jnp.inf).astype(jumps.dtype)
        return jnp.where(index > last, late, jnp.where(index < 0, -late, found))


def _beside(jumps: Array, t: Time) -> Array:
    """The jumps, so that they broadcast against a time for each sample."""
    return jumps[:, None] if jnp.ndim(t) and jumps.ndim == 1 else jumps


def _beside_number(x: Array, towards: float) -> Array:
    """The next number from x in a direction; next to zero, the smallest one that is not flushed to zero."""
    tiny = jnp.finfo(x.dtype).tiny
    found = jnp.nextafter(x, jnp.asarray(towards, x.dtype))
    return jnp.where(jnp.abs(found) < tiny, jnp.copysign(tiny, towards).astype(x.dtype), found)

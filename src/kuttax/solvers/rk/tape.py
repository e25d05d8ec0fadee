"""Tape: the accepted steps of an adaptive solve, for replaying them.

The tape keeps times and step sizes of every step. States are large, so it keeps them in a fixed number of slots M: all
up to step M, every second one up to 2M, every fourth one up to 4M, and so on. A reverse pass recomputes the steps
between from the last kept state before them. A new state takes the slot of a dropped one, so no state ever moves:
within [2^j M, 2^(j+1) M) every S = 2^(j+1)-th state is kept, and state 2^j M + S i takes the slot of state S i + S/2.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from ..._types import Count, State, Time
from ..base.spread import spread

_SLOT_BYTES = 16 * 2**20  # memory for slots
_FEWEST, _MOST = 8, 256


def slots_for(y0: PyTree, max_steps: int) -> int:
    """How many states to keep: a power of two, fewer for larger states.

    Every solve pays for the buffers, because XLA fills them: too many slots cost more than the solve.
    """
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(y0))
    fit = int(np.clip(_SLOT_BYTES // max(size, 1), _FEWEST, _MOST))
    return 2 ** min(int(np.log2(fit)), int(np.ceil(np.log2(max_steps))))


class Tape(eqx.Module):
    """The accepted steps n = 0, 1, ... of a solve: start time, size and start state of each."""

    t: Float[Array, "steps *samples"]
    h: Float[Array, "steps *samples"]
    y: Any
    slots: int = eqx.field(static=True)

    @classmethod
    def blank(cls, y0: State, lanes: tuple[int, ...], dtype, max_steps: int) -> "Tape":
        """A tape with room for max_steps steps."""
        slots = slots_for(y0, max_steps)
        times = jnp.zeros((max_steps, *lanes), dtype)
        return cls(times, times, jax.tree.map(lambda x: jnp.zeros((slots, *x.shape), x.dtype), y0), slots)

    def record(self, n: Int[Array, "*samples"], t: Time, h: Time, y: State, take: Bool[Array, "*samples"]) -> "Tape":
        """The tape with step n written where `take` holds."""
        slot, keep = self._slot(n), take & (n % self.stride(n) == 0)
        states = jax.tree.map(lambda buffer, x: _put_where(keep, buffer, slot, x), self.y, y)
        return Tape(_put_where(take, self.t, n, t), _put_where(take, self.h, n, h), states, self.slots)

    def state(self, n: Int[Array, ""]) -> State:
        """The start state of step n, which must be a kept one."""
        slot = self._slot(n)
        return jax.tree.map(lambda buffer: buffer[slot], self.y)

    def stride(self, n: Int[Array, "*samples"]) -> Int[Array, "*samples"]:
        """The distance, in steps, between kept states once step n is on the tape."""
        return jnp.where(n < self.slots, 1, 2 << jnp.maximum(self._level(n), 0))

    @property
    def chunk(self) -> int:
        """The number of states that a reverse pass holds of a recomputed stretch at a time."""
        return max(self.slots // 4, 2)

    def blank_chunk(self) -> State:
        """A buffer for `chunk` states."""
        return jax.tree.map(lambda x: jnp.zeros((self.chunk, *x.shape[1:]), x.dtype), self.y)

    def _level(self, n):
        """j for n in [2^j M, 2^(j+1) M)."""
        return 31 - jax.lax.clz(jnp.maximum(n, 1)) - (self.slots.bit_length() - 1)

    def _slot(self, n):
        """The slot of state n.

        State 2^j M + S i, with M = 2^L, has its highest bit at place j + L and no bit at place j. The state that it
        replaces, S i + S/2, differs by having that bit at place j instead. So every bit of n moves to its place modulo
        L, and no two to the same place.
        """
        width, places = self.slots.bit_length() - 1, self.t.shape[0].bit_length()
        folded = n
        for shift in range(width, places, max(width, 1)):
            folded = folded | (n >> shift)
        return folded & (self.slots - 1)


def put(buffer: Array, index: Int[Array, "*samples"], value: Array) -> Array:
    """buffer[index] = value, or, with one index for each sample, buffer[index_b, b] = value_b."""
    if index.ndim == 0:
        return jax.lax.dynamic_update_index_in_dim(buffer, value, index, 0)
    return buffer.at[index, jnp.arange(index.shape[0])].set(value)


def _put_where(now: Bool[Array, "*samples"], buffer: Array, index: Int[Array, "*samples"], value: Array) -> Array:
    return put(buffer, index, jnp.where(spread(now, value), value, pick(buffer, index)))


def pick(buffer: Array, index: Count) -> Array:
    """buffer[index], or, with one index for each sample, buffer[index_b, b]."""
    return buffer[index] if index.ndim == 0 else buffer[index, jnp.arange(index.shape[0])]

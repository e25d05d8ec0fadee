"""Tape: the accepted steps of an adaptive solve, for replaying them.

Times and step sizes are kept for every step, and the slopes of the first steps, as many as fit: a reverse pass need not
evaluate the field again for them. The states, which are large, are kept in a fixed number of slots M: all of
them up to step M, every second one up to 2M, every fourth one up to 4M, and so on; the steps between are recomputed
from the state before them. A state that is dropped gives its slot to a new one, so nothing is ever moved: within
[2^j M, 2^(j+1) M) every S = 2^(j+1)-th state is kept, and state 2^j M + S i takes the slot of state S i + S/2.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from ...._types import State, Time
from ...base.spread import put

_BYTES_AN_OPERATION = 64 * 2**10  # memory for states, and as much for slopes, that one operation of the field is worth
_LEAST_BYTES, _MOST_BYTES = 2**20, 4 * 2**20
_FEWEST, _MOST = 8, 256
_MOST_SLOPES = 64  # steps whose slopes are kept
_FEWEST_SLOPES = 3  # for fewer steps slopes are not kept
_CHUNK_BYTES = 2 * 2**20  # memory that may be spent on recomputed steps


def bytes_for(operations: int) -> int:
    """The memory for states, and as much for slopes: more for a field of more operations, which takes longer again."""
    return int(np.clip(_BYTES_AN_OPERATION * operations, _LEAST_BYTES, _MOST_BYTES))


def slots_for(y0: PyTree, max_steps: int, memory: int) -> int:
    """How many states to keep in this memory: a power of two.

    Buffers are paid for at every solve: XLA fills them, so a generous one costs more than the solve.
    """
    fit = int(np.clip(memory // _bytes(y0), _FEWEST, _MOST))
    return 2 ** min(int(np.log2(fit)), int(np.ceil(np.log2(max_steps))))


def slopes_for(y0: PyTree, stages: int, max_steps: int, memory: int) -> int:
    """The slopes of how many steps to keep in this memory."""
    fit = min(memory // (_bytes(y0) * (stages + 1)), _MOST_SLOPES, max_steps)
    return fit if fit >= _FEWEST_SLOPES else 0


def _bytes(y0: PyTree) -> int:
    return max(sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(y0)), 1)


class Tape(eqx.Module):
    """The accepted steps n = 0, 1, ... of a solve: start time, size, start state and slopes of each.

    Slopes have leaves (steps, stages + 1, *state), or (steps, samples, stages + 1, ...) under per-sample control.

    Attributes:
        slots, slopes: How many states are kept, and the slopes of how many steps.
        chunk: How many recomputed steps, each with its state and its slopes, a reverse pass holds at a time.
    """

    t: Float[Array, "steps *samples"]
    h: Float[Array, "steps *samples"]
    y: Any
    ks: Any
    slots: int = eqx.field(static=True)
    slopes: int = eqx.field(static=True)
    chunk: int = eqx.field(static=True)

    @classmethod
    def blank(cls, y0: State, stages: int, lanes: tuple[int, ...], dtype, max_steps: int, operations: int) -> "Tape":
        """A tape with room for max_steps steps of a field with so many operations."""
        memory = bytes_for(operations)
        slots, slopes = slots_for(y0, max_steps, memory), slopes_for(y0, stages, max_steps, memory)
        times = jnp.zeros((max_steps + 1, *lanes), dtype)
        states = jax.tree.map(lambda x: jnp.zeros((slots + 1, *x.shape), x.dtype), y0)
        shape = lambda x: (slopes + 1, *lanes, stages + 1, *x.shape[len(lanes) :])
        ks = jax.tree.map(lambda x: jnp.zeros(shape(x), x.dtype), y0) if slopes else None
        chunk = int(np.clip(_CHUNK_BYTES // (_bytes(y0) * (stages + 2)), 2, max(slots // 4, 2)))
        return cls(times, times, states, ks, slots, slopes, chunk)

    def record(
        self, n: Int[Array, "*samples"], t: Time, h: Time, y: State, ks: State, take: Bool[Array, "*samples"]
    ) -> "Tape":
        """The tape with step n written where `take` holds.

        What is not to be kept goes into one more place at the end of each buffer.
        """
        here = lambda keep, place, buffer: jnp.where(keep, place, len(buffer) - 1)
        write = lambda keep, place: lambda buffer, x: put(buffer, here(keep, place, buffer), x)
        kept = take & (jax.lax.rem(n, self.stride(n)) == 0)
        states = jax.tree.map(write(kept, self._slot(n)), self.y, y)
        of_step = jax.tree.map(lambda x: jnp.moveaxis(x, 0, take.ndim), ks)
        slopes = None if self.ks is None else jax.tree.map(write(take & (n < self.slopes), n), self.ks, of_step)
        t, h = (write(take, n)(buffer, x) for buffer, x in ((self.t, t), (self.h, h)))
        return dataclasses.replace(self, t=t, h=h, y=states, ks=slopes)

    def slopes_of(self, n: Int[Array, ""]) -> State:
        """The slopes of step n, which must be one whose slopes are kept: leaves (stages + 1, *state)."""
        return jax.tree.map(lambda buffer: jnp.moveaxis(buffer[n], self.t.ndim - 1, 0), self.ks)

    def state(self, n: Int[Array, ""]) -> State:
        """The start state of step n, which must be one that is kept."""
        slot = self._slot(n)
        return jax.tree.map(lambda buffer: buffer[slot], self.y)

    def stride(self, n: Int[Array, "*samples"]) -> Int[Array, "*samples"]:
        """Every how many steps a state is kept once step n is on the tape."""
        return jnp.where(n < self.slots, 1, 2 << jnp.maximum(self._level(n), 0))

    def _level(self, n):
        """j for n in [2^j M, 2^(j+1) M)."""
        return 31 - jax.lax.clz(jnp.maximum(n, 1)) - (self.slots.bit_length() - 1)

    def _slot(self, n):
        """The slot of state n.

        State 2^j M + S i, with M = 2^L, has its highest bit at place j + L and none at place j; the state that it
        replaces, S i + S/2, differs by having that bit at place j instead. So every bit of n ends up at its place
        modulo L, and no two at the same one.
        """
        width, places = self.slots.bit_length() - 1, (self.t.shape[0] - 1).bit_length()
        folded = n
        for shift in range(width, places, max(width, 1)):
            folded = folded | (n >> shift)
        return folded & (self.slots - 1)

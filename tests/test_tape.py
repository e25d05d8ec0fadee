"""Tape: every state that the reverse pass asks for is there, whatever the number of slots and steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kuttax.solvers.rk.adaptive import tape as tape_module
from kuttax.solvers.rk.adaptive.tape import Tape, slots_for


@pytest.fixture
def slots(request, monkeypatch):
    """Tapes with this many slots."""
    monkeypatch.setattr(tape_module, "_FEWEST", request.param)
    monkeypatch.setattr(tape_module, "_MOST", request.param)
    return request.param


def recorded(steps, most):
    """A tape of the steps n = 0, ..., steps - 1 of one lane an entry of `steps`; the state of step n is n + 1/4.

    Its slopes, of one stage and of the end, are minus the state, and twice the state.
    """
    lanes = np.shape(steps)
    y = jnp.zeros((*lanes, 2))

    def step(tape, n):
        take = n < jnp.asarray(steps)
        count = jnp.minimum(n, jnp.asarray(steps))
        value = n.astype(y.dtype) + 0.25
        full = jnp.full(lanes, value)
        state = jnp.full(y.shape, value)
        return tape.record(count, full, 2 * full, state, jnp.stack([-state, 2 * state]), take), None

    start = Tape.blank(y, 1, lanes, y.dtype, most, 100)
    return jax.lax.scan(step, start, jnp.arange(most, dtype=jnp.int32))[0]


@pytest.mark.parametrize("slots", [1, 2, 4, 8], indirect=True)
def test_every_state_that_a_replay_starts_from_is_kept(slots):
    most = 70
    record = jax.jit(lambda steps: recorded(steps, most))
    state = jax.jit(lambda tape, n: tape.state(n))
    for steps in range(1, most + 1, 1 if slots == 4 else 7):
        tape = record(jnp.asarray(steps, jnp.int32))
        assert tape.slots == slots
        stride = int(tape.stride(jnp.asarray(steps - 1, jnp.int32)))
        kept = range(0, steps, stride)
        assert len(kept) <= slots  # what fits
        assert steps <= slots or 2 * len(kept) + 1 >= slots  # and is made use of
        for n in kept:
            np.testing.assert_array_equal(state(tape, jnp.asarray(n, jnp.int32)), n + 0.25)
        np.testing.assert_array_equal(tape.t[:steps], np.arange(steps) + 0.25)
        np.testing.assert_array_equal(tape.h[:steps], 2 * (np.arange(steps) + 0.25))


@pytest.mark.parametrize("slots", [4], indirect=True)
def test_lanes_of_different_length(slots):
    """A shorter lane is kept at the stride of the longest one too."""
    steps, most = np.array([3, 40, 17, 1], np.int32), 50
    tape = jax.jit(lambda: recorded(steps, most))()
    stride = int(tape.stride(jnp.asarray(steps.max() - 1, jnp.int32)))
    assert stride > tape.chunk  # a stretch longer than the buffer that it is recomputed in
    for n in range(0, steps.max(), stride):
        has = n < steps
        np.testing.assert_array_equal(np.asarray(tape.state(jnp.asarray(n, jnp.int32)))[has], n + 0.25)
    for lane, count in enumerate(steps):
        np.testing.assert_array_equal(tape.t[:count, lane], np.arange(count) + 0.25)
        for n in range(min(count, tape.slopes)):
            slopes = tape.slopes_of(jnp.asarray(n, jnp.int32))[:, lane]
            np.testing.assert_array_equal(slopes, np.outer([-1, 2], [n + 0.25, n + 0.25]))


@pytest.mark.parametrize("steps", [3, 9, 40])
def test_slopes_of_the_first_steps_are_kept(steps, monkeypatch):
    """As many as fit; later steps, and steps that fit no more, leave them as they are."""
    monkeypatch.setattr(tape_module, "_MOST_SLOPES", 9)
    tape = jax.jit(lambda: recorded(steps, 50))()
    assert tape.slopes == 9
    for n in range(min(steps, 9)):
        slopes = tape.slopes_of(jnp.asarray(n, jnp.int32))
        np.testing.assert_array_equal(slopes, np.outer([-1, 2], [n + 0.25, n + 0.25]))


def test_slopes_of_large_states_are_not_kept():
    """Within the memory set aside; none if they would be those of a few steps."""
    sizes = [10, 10**4, 10**5, 10**6]
    memory = tape_module.bytes_for(1000)
    assert memory > tape_module.bytes_for(1)  # a field of few operations is quickly evaluated again
    slopes = lambda size, most: tape_module.slopes_for(jax.ShapeDtypeStruct((size,), jnp.float32), 6, most, memory)
    counts = [slopes(size, 4096) for size in sizes]
    assert counts == sorted(counts, reverse=True) and counts[0] > 0 and counts[-1] == 0
    for size, count in zip(sizes, counts, strict=True):
        assert count == 0 or count * size * 4 * 7 <= memory
    assert slopes(10, 5) == 5


def test_fewer_slots_for_larger_states():
    """Powers of two; within the memory set aside, but for the fewest that a replay needs."""
    sizes = [10, 10**4, 10**5, 10**6, 10**8]
    memory = tape_module.bytes_for(1000)
    counts = [slots_for(jax.ShapeDtypeStruct((size,), jnp.float32), 4096, memory) for size in sizes]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] >= 2
    for size, count in zip(sizes, counts, strict=True):
        assert np.log2(count) % 1 == 0
        assert count == counts[-1] or size * 4 * count <= 2 * memory
    assert slots_for(jax.ShapeDtypeStruct((10,), jnp.float32), 3, memory) == 4

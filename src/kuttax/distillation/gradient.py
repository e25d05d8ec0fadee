"""Adam on the log of the mean square error at the end, for students with too many parameters for least squares."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from ..data.batches import BatchStream
from ..solvers.rk.learned import LearnedRK as Student
from .best import BestStudent
from .frozen import Frozen, crossed, rmse
from .starts import Pairs

MOST_STEPS = 3000
BATCH = 256
LOOK_EVERY = 50
PATIENCE = 20
"""Evaluations on the held-out starts without a better error after which a fit ends."""

_RATE = 1e-2


def _crossed(frozen: Frozen, student: Student, batch: Pairs) -> Pairs:
    """The batch with another start in place of each that the student cannot cross, for whose gradient is not finite."""
    there = crossed(frozen, jax.lax.stop_gradient(student), batch)
    rows = jnp.where(there, jnp.arange(batch.number), jnp.argmax(there))
    return jax.tree.map(lambda x: x[rows], batch)


def adam(frozen: Frozen, student: Student, seen: Pairs, held: Pairs, steps: int, seed: int) -> BestStudent:
    """Fit the student to the pairs `seen`, in batches drawn by `seed`; all in float64.

    The log gives the learning rate the same meaning for errors of any size; the rate falls to a hundredth on a cosine.

    Returns:
        The student with the best error on the pairs `held`, with that error.
    """
    most = jnp.asarray(seen.spread)
    optimiser = optax.adam(optax.cosine_decay_schedule(_RATE, steps, 1e-2))
    stream = BatchStream(seen.number, min(BATCH, seen.number), seed)

    def loss(student: Student, frozen: Frozen, batch: Pairs) -> Array:
        return jnp.log(jnp.mean(frozen.bounded_errors(student, _crossed(frozen, student, batch), most) ** 2))

    @eqx.filter_jit
    def dispatch(student, state, frozen: Frozen, seen: Pairs, rows) -> Any:
        def step(carry, rows):
            student, state = carry
            batch = jax.tree.map(lambda x: jnp.asarray(x)[rows], seen)
            updates, state = optimiser.update(jax.grad(loss)(student, frozen, batch), state)
            return (optax.apply_updates(student, updates), state), None

        return jax.lax.scan(step, (student, state), rows)[0]

    best = BestStudent(PATIENCE)
    best.look(float(rmse(frozen, student, held, most)), student)
    now: Any = jax.tree.map(jnp.asarray, student)
    state = optimiser.init(now)
    for done in range(0, steps, LOOK_EVERY):
        rows = np.asarray(stream.take(done, min(LOOK_EVERY, steps - done)))
        now, state = dispatch(now, state, frozen, seen, rows)
        best.look(float(rmse(frozen, now, held, most)), now)
        if best.exhausted:
            break
    return best

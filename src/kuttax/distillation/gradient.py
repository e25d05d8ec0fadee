"""Adam on the log of the mean square error, for students with too many parameters for least squares."""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from ..data.batches import BatchStream
from ..io.checkpoints import restored
from ..solvers.rk.learned import LearnedRK as Student
from .best import BestStudent
from .keep import Stored
from .objectives import AbstractObjective, EndPoint, crossed, rmse
from .progress import Reporter
from .starts import Pairs

MOST_STEPS = 3000
BATCH, LEAST_BATCH = 256, 16
"""The most starts in a batch, and the fewest."""
LOOK_EVERY = 50
PATIENCE = 20
"""Evaluations on the held-out starts without a better error after which a fit ends."""

_RATE = 1e-2
_NUMBERS = 2**16  # in the states of a batch; a few large states already give more errors than parameters


def _crossed(objective: AbstractObjective, student: Student, batch: Pairs) -> Pairs:
    """The batch with another start in place of each that the student cannot cross, for whose gradient is not finite."""
    there = crossed(objective.frozen, student, batch)
    rows = jnp.where(there, jnp.arange(batch.number), jnp.argmax(there))
    return jax.tree.map(lambda x: x[rows], batch)


def adam(
    objective: AbstractObjective,
    student: Student,
    seen: Pairs,
    held: Pairs,
    steps: int,
    seed: int,
    stored: Stored,
    say: Reporter,
) -> BestStudent:
    """Fit the student to the pairs `seen`, in batches drawn by `seed`; all in float64.

    The log gives the learning rate the same meaning for errors of any size; the rate falls to a hundredth on a cosine.

    Returns:
        The student with the best error on the pairs `held`, with that error.
    """
    optimiser = optax.adam(optax.cosine_decay_schedule(_RATE, steps, 1e-2))
    size = min(seen.number, max(LEAST_BATCH, min(BATCH, _NUMBERS // seen.size)))
    stream = BatchStream(seen.number, size, seed)

    def loss(student: Student, objective: AbstractObjective, batch: Pairs) -> Array:
        return jnp.log(jnp.mean(objective.errors(student, batch) ** 2))

    def slope(student: Student, objective: AbstractObjective, batch: Pairs) -> Any:
        found = jax.grad(loss)(student, objective, batch)
        known = jnp.all(jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves(found)]))
        again = lambda: jax.grad(loss)(student, objective, _crossed(objective, student, batch))
        return jax.lax.cond(known, lambda: found, again)

    @eqx.filter_jit
    def dispatch(run: Any, objective: AbstractObjective, first: Pairs, rows) -> Any:
        def step(carry, rows):
            student, state, starts = carry
            batch, few = (jax.tree.map(lambda x: jnp.asarray(x)[rows], tree) for tree in (first, starts))
            if objective.moves:
                batch = objective.moved(student, replace(batch, start=few), batch)
                starts = jax.tree.map(lambda x, new: x.at[rows].set(new), starts, batch.start)
            updates, state = optimiser.update(slope(student, objective, batch), state)
            return (optax.apply_updates(student, updates), state, starts), None

        return jax.lax.scan(step, run, rows)[0]

    ends, best = EndPoint(objective.frozen, objective.most), BestStudent(PATIENCE)
    begin: Any = jax.tree.map(jnp.asarray, student)
    starts = jax.tree.map(jnp.asarray, seen.start) if objective.moves else None
    run: Any = begin, optimiser.init(begin), starts
    done = 0
    if (arrays := stored.found()) is not None:
        run, kept = restored(arrays, (run, begin))
        done = stored.plain["done"]
        best.restore(stored.plain, kept)
    else:
        best.look(float(rmse(ends, student, held)), student)
    say(done, steps, best.error)
    while done < steps and not best.exhausted:
        rows = np.asarray(stream.take(done, min(LOOK_EVERY, steps - done)))
        run = dispatch(run, objective, seen, rows)
        done += len(rows)
        best.look(float(rmse(ends, run[0], held)), run[0])
        stored.save(jax.tree.leaves((run, best.student)), {"done": done, **best.saved()})
        say(done, steps, best.error)
    stored.save(jax.tree.leaves((run, best.student)), {"done": done, **best.saved()}, now=True)
    return best

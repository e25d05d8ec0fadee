"""Regression: where a sampler begins. Its weights follow the teacher's paths, stage by stage, by linear least squares.

The weights enter a state linearly once the slopes before it are known. So one pass over the stages, with a few
evaluations of the field, gives weights that are near the best ones for given times; the fit then moves both.
"""

from collections.abc import Iterator
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..solvers.rk.learned import LearnedRK
from .frozen import Frozen
from .objectives import AbstractObjective, rmse
from .path import Path
from .starts import Pairs

CELLS = 32
"""Parts of the paths."""

_MOST = 2**27  # numbers in the paths: 1 GiB
_POWERS = (1.0, 1.5, 2.0)
_FIRST = 1e-3  # the earliest time: at 0 itself its derivative would jump


def cells(student: LearnedRK, numbers: int) -> int:
    """The parts of the paths that `regressed` needs; 0 if it does nothing for this student, or they are too large.

    Args:
        student: Where the fit would begin.
        numbers: In all starts together.
    """
    return CELLS if not student.consistent and 2 * numbers * (CELLS + 1) <= _MOST else 0


def regressed(objective: AbstractObjective, student: LearnedRK, seen: Pairs) -> LearnedRK:
    """The student with the smallest error of the given one and of those that regression finds, one for each grid of
    times: equally spaced, denser at the start, and denser at the end.

    Args:
        objective: What is to be small.
        student: Where the fit would begin.
        seen: Pairs; without paths the student stays as it is.
    """
    paths = seen.path
    if paths is None:
        return student
    path = lambda share: np.asarray(_states(paths, jnp.asarray(share)))
    slope = lambda share, states: np.asarray(_slope(objective.frozen, seen, jnp.asarray(share), states))
    found = [student]
    for times in _grids(student.chart.stages):
        if (chart := student.chart.through(times, path, slope)) is not None:
            found.append(replace(student, chart=chart))
    pairs = replace(seen, path=None)
    return min(found, key=lambda one: float(rmse(objective, one, pairs)))


def _grids(stages: int) -> Iterator[np.ndarray]:
    """Times of evaluations, as shares of the interval."""
    for offset in (0.0, 0.5):
        even = (np.arange(stages) + offset) / stages
        for power in _POWERS:
            for times in (even**power, 1 - (1 - even) ** power)[: 1 + (power > 1)]:
                yield np.maximum(times, _FIRST)


@eqx.filter_jit
def _states(paths: Path, share: Float[Array, ""]) -> Float[Array, "n d"]:
    """The states of all paths after a share of the interval."""
    return jax.vmap(lambda path: ravel_pytree(path.at(share))[0])(paths)


@eqx.filter_jit
def _slope(frozen: Frozen, seen: Pairs, share: Float[Array, ""], states: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """The derivatives of states with respect to the share of the interval."""
    whole = frozen.t1 - frozen.t0
    t = frozen.t0 + whole * share
    back = ravel_pytree(jax.tree.map(lambda x: x[0], seen.start))[1]
    return whole * jax.vmap(lambda y, own: ravel_pytree(frozen(t, back(y), own))[0])(states, seen.own)

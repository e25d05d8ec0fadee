"""Looking over a local penalty's shoulder: which step it looks at, for many keys at once."""

from typing import ClassVar, NamedTuple

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

import kuttax as kx
from kuttax.penalties.local import AbstractLocal


class Sight(NamedTuple):
    """Start, size, start state and cost of the step of each key; times and costs have one entry a lane."""

    t: np.ndarray
    h: np.ndarray
    y: np.ndarray
    cost: np.ndarray


class Looks(kx.AbstractPenalty):
    """What `part` sees, as one vector, in place of its mean cost."""

    of_sdes: ClassVar[bool] = True
    part: AbstractLocal

    def request(self, problem, solver, key):
        return self.part.request(problem, solver, key)

    def value(self, seen):
        step = self.part.step(seen)
        return ravel_pytree(Sight(step.t, step.h, step.y, self.part.cost(step)))[0]


def looked(part: AbstractLocal, keys, field, y0, t0, t1, *, lanes: int = 1, beside=None, **options) -> Sight:
    """What `part` sees of a solve whose state is one array, for each of `keys`; of two penalties, with the draws of the
    first."""
    whole = Looks(part) if beside is None else Looks(part) + 0.0 * beside

    def one(key):
        return kx.solve(field, y0, t0, t1, penalty=whole, key=key, **options).penalty

    # A penalty sees time elapsed since t0.
    flat = np.asarray(jax.jit(jax.vmap(one))(keys))
    t, h, y, cost = np.split(flat, np.cumsum([lanes, lanes, y0.size]), axis=1)
    return Sight(t0 + t, h, y.reshape(len(keys), *y0.shape), cost)

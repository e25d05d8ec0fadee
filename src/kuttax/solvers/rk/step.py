"""One explicit step: its stages, its end state, its error estimate and its stiffness estimate."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..._types import State, Time
from ..base.spread import spread
from .controller import Controller
from .stages import combine, stages
from .tableau import Tableau

_GUARD = 2.0**20  # keeps small differences of slopes from underflow: for states of 1e-30 they are below float32's least


class Step(NamedTuple):
    """A step from y at t to y1 at t + h, as penalties see it.

    Attributes:
        tableau, controller: The method of the step, and the tolerance that scales its error.
        t, h: Its start and size: scalars, or one number for each sample.
        y, y1: The states at its start and end.
        ks: The slopes of its stages and at its end.
        norm: Root mean square of a state, or of each sample.
    """

    tableau: Tableau
    controller: Controller
    t: Time
    h: Time
    y: State
    y1: State
    ks: Sequence[State]
    norm: Callable[[State], Time]

    def error(self) -> Time:
        """E = RMS[h sum_i btilde_i k_i / (atol + rtol max(|y|, |y1|))]: at most one if the step is accepted."""
        weights = self.tableau.error
        assert weights is not None
        zero = jax.tree.map(jnp.zeros_like, self.y)
        used = [bool(w) for w in weights != 0]
        estimate = combine(zero, self.h, [_GUARD * float(w) for w in weights], self.ks, used)
        return self.norm(self.controller.scaled(estimate, self.y, self.y1)) / _GUARD

    def stiffness(self) -> Time:
        """S = RMS(k_j - k_i) / RMS(g_j - g_i) of two stages at the same time: about the Jacobian's largest eigenvalue.

        Hairer & Wanner II, IV.2; Pal et al. 2023, section 3. g_i is the state at which the slope k_i was evaluated. S
        is zero if the two states are equal.
        """
        pair = stiffness_pair(self.tableau)
        assert pair is not None
        i, j = pair
        s = self.tableau.stages
        ends = [*self.tableau.a, self.tableau.b]
        apart = [float(x) for x in ends[j] - ends[i]]
        zero = jax.tree.map(jnp.zeros_like, self.y)
        between = self.norm(combine(zero, self.h, apart, self.ks[:s], [x != 0 for x in apart]))
        change = self.norm(jax.tree.map(jnp.subtract, self.ks[j], self.ks[i]))
        same = between == 0
        return jnp.where(same, jnp.zeros_like(change), change / jnp.where(same, jnp.ones_like(between), between))


class EstimatedStep(NamedTuple):
    """A step of an SDE from y at t to y1 at t + h, as penalties see it in place of a `Step`.

    Attributes:
        controller: The tolerance that scales its error.
        t, h: Its start and size, scalars.
        y, y1: The states at its start and end.
        estimate: The estimate of its error, entry by entry; shaped like y.
        norm: The norm of a state.
    """

    controller: Controller
    t: Time
    h: Time
    y: State
    y1: State
    estimate: State
    norm: Callable[[State], Time]

    def error(self) -> Time:
        """E = |estimate / (atol + rtol max(|y|, |y1|))|: at most one if the step is accepted."""
        return self.norm(self.controller.scaled(self.estimate, self.y, self.y1))


def stiffness_pair(tableau: Tableau) -> tuple[int, int] | None:
    """The last two evaluations, stages or end point, at the same time; None if no two are at the same time."""
    times = [*(float(c) for c in tableau.c), 1.0]
    pairs = [(i, j) for j in range(len(times)) for i in range(j) if times[i] == times[j]]
    return pairs[-1] if pairs else None


def interpolate(tableau: Tableau, y: State, t: Time, h: Time, ks: Sequence[State], at: Time) -> State:
    """The dense output y + h sum_i b_i(theta) k_i at time `at` of a step from t of size h.

    `ks` are the slopes of the stages and at the end of the step. For a step of size zero the result is y.
    """
    theta = jnp.where(h == 0, jnp.zeros_like(h), (at - t) / jnp.where(h == 0, jnp.ones_like(h), h))
    weights = []
    for row in tableau.dense:
        weight = jnp.zeros_like(theta)
        for coefficient in reversed(row):
            weight = (weight + float(coefficient)) * theta
        weights.append(weight)
    used = [bool(np.any(row)) for row in tableau.dense]
    return combine(y, h, weights, ks, used)


def polynomial(dense: np.ndarray, y: State, h: Time, ks: Sequence[State]) -> tuple[State, ...]:
    """The dense output of a step in powers of theta: y, then h sum_i dense[i, j] k_i for each j.

    Args:
        dense: Coefficients of the stages and of the slope at the end, (s + 1, degree), as in `Tableau.dense`.
        y, h: The start of the step, and its size.
        ks: The slopes of the stages and at the end.
    """
    zero = jax.tree.map(jnp.zeros_like, y)
    columns = ([float(x) for x in column] for column in dense.T)
    return (y, *(combine(zero, h, column, ks, [x != 0 for x in column]) for column in columns))


def hermite(y: State, y1: State, h: Time, k1: State, end: State) -> tuple[State, ...]:
    """The cubic polynomial in powers of theta through both ends of a step, with the slopes there."""
    step = lambda k: jax.tree.map(lambda k: spread(h, k) * k, k)
    change, first, last = jax.tree.map(jnp.subtract, y1, y), step(k1), step(end)
    square = jax.tree.map(lambda d, a, b: 3 * d - 2 * a - b, change, first, last)
    cube = jax.tree.map(lambda d, a, b: a + b - 2 * d, change, first, last)
    return y, first, square, cube


def step_with_end(
    tableau: Tableau, f: Callable[[Time, State], State], t: Time, y: State, h: Time, k1: State | None = None
) -> tuple[State, list[State]]:
    """The state at the end of one step, and the slopes of its stages and at its end."""
    y1, ks = step_without_end(tableau, f, t, y, h, k1)
    return y1, [*ks, f(t + h, y1)]


def step_without_end(
    tableau: Tableau, f: Callable[[Time, State], State], t: Time, y: State, h: Time, k1: State | None = None
) -> tuple[State, list[State]]:
    """The state at the end of one step, and the slopes of its stages."""
    a, b, c = (jnp.asarray(x, h.dtype) for x in (tableau.a, tableau.b, tableau.c))
    ks = stages(f, t, y, h, a, c, tableau.sparsity, k1)
    return combine(y, h, b, ks, [bool(x) for x in tableau.b != 0]), ks

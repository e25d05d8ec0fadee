"""The grid of a solve with a given number of steps: its state, and how it steps through the output times."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..._types import Count, State
from ...errors import UserError
from .pick import Pick, Picked
from .solution import Solution, Stats, Status
from .solver import AbstractSolver, Observable, Problem


class AbstractGridSolver(AbstractSolver):
    """A solver with `steps` steps on one interval."""

    steps: eqx.AbstractVar[int]

    def number_of_steps(self) -> int:
        return self.steps

    def observable(self, *, sde: bool = False) -> frozenset[Observable]:
        del sde
        return frozenset(("times", "steps"))


class GridState(eqx.Module):
    """The state of a fixed-step solve.

    Attributes:
        y: The state.
        n: The number of steps taken.
        picked: The values picked so far.
    """

    y: State
    n: Count
    picked: tuple[Picked, ...]

    @classmethod
    def begin(cls, problem: Problem, starts: Callable[[Array, Array], Array]) -> "GridState":
        """The state at the start, with the numbers of the steps to pick.

        `starts(t0, t1)` gives the start times of the steps of an interval.
        """
        zero = jnp.zeros_like(problem.t0)
        steps = (_step_of(pick, problem, starts) for pick in problem.picks)
        picked = tuple(Picked(zero, problem.y0, zero, step) for step in steps)
        return cls(problem.y0, jnp.zeros((), jnp.int32), picked)

    def on(self, y: State, t: Array, h: Array) -> "GridState":
        """The state after one more step, of size h from t, to the state y."""

        def pick(old: Picked) -> Picked:
            new = Picked(t, self.y, h, old.step)
            return jax.tree.map(lambda a, b: jnp.where(self.n == old.step, a, b), new, old)

        return GridState(y, self.n + 1, tuple(pick(old) for old in self.picked))


def checked_steps(steps: int, name: str = "steps") -> int:
    """`steps`, if it is a valid number of steps."""
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
        raise UserError(f"{name} must be a whole number >= 1, got {steps!r}")
    return int(steps)


def in_order(ts: Array, t0: Array, t1: Array) -> Array:
    """Whether t0, *ts, t1 is monotone."""
    gaps = jnp.diff(jnp.concatenate([t0[None], ts, t1[None]]))
    return jnp.where(t1 >= t0, jnp.all(gaps >= 0), jnp.all(gaps <= 0))


def through_times(cross: Callable[[Any, Array, Array], Any], start: Any, problem: Problem) -> tuple[Any, Any, int]:
    """Apply `cross(at, t_from, t_to)` to each interval; return the last `at`, `.y` at ts, and the number of intervals.

    An interval known to be empty at trace time (ts begins at t0, say) is skipped. With a traced ts this is not known,
    and the empty interval costs its evaluations.
    """
    t0, t1, ts = problem.t0, problem.t1, problem.ts
    if ts is None:
        return cross(start, t0, t1), None, 1

    def save(carry, t):
        here = cross(carry[1], carry[0], t)
        return (t, here), here.y

    targets = ts[1:] if problem.saves_start else ts
    (last, end), ys = jax.lax.scan(save, (t0, start), targets)
    if problem.saves_start:
        ys = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), start.y, ys)
    if problem.saves_end:
        return end, ys, len(targets)
    return cross(end, last, t1), ys, len(targets) + 1


def nodes_of(t0: Array, t1: Array, ts: Any, problem: Problem) -> Array:
    """The ends of the intervals of a fixed-step solve, (intervals + 1,)."""
    nodes = [t0[None]]
    if ts is not None:
        nodes.append(ts[1:] if problem.saves_start else ts)
    if ts is None or not problem.saves_end:
        nodes.append(t1[None])
    return jnp.concatenate(nodes)


def _step_of(pick: Pick, problem: Problem, starts: Callable[[Array, Array], Array]) -> Count:
    """The number of the picked step: any of them, or the step that contains a given time."""
    nodes = nodes_of(problem.t0, problem.t1, problem.ts, problem)
    all_starts = jax.vmap(starts)(nodes[:-1], nodes[1:]).reshape(-1)
    if pick.at is None:
        return jax.random.randint(pick.key, (), 0, len(all_starts), jnp.int32)
    passed = (pick.at - all_starts) * problem.direction >= 0
    return jnp.maximum(jnp.sum(passed).astype(jnp.int32) - 1, 0)


def solution_of(problem: Problem, sound: Array, y1: State, ys: Any, nfe: int, steps: int) -> Solution:
    """The solution of a solve with known numbers of evaluations and steps; `concluded` checks its values.

    `sound` is false if coefficients are not reliable.
    """
    status = jnp.where(sound, int(Status.ok), int(Status.ill_conditioned))
    if problem.ts is not None:
        status = jnp.where(in_order(problem.ts, problem.t0, problem.t1), status, int(Status.unordered_times))
    evaluations, taken = jnp.asarray(nfe), jnp.asarray(steps)
    return Solution(y1, ys, Stats(evaluations, taken, jnp.zeros_like(taken), evaluations), status.astype(jnp.int32))

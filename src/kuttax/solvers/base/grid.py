"""The grid of a solve with a given number of steps: its state, and how it steps through the output times."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._types import Count, State
from .event import none_yet, nothing_seen
from .pick import Pick, Picked
from .problem import Problem
from .solution import Happened, Solution, Stats, Status
from .solver import AbstractSolver, Observable
from .spread import spread


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
        event: The event so far, if there are events.
        seen: The values of the events' conditions at the end of the last step.
    """

    y: State
    n: Count
    picked: tuple[Picked, ...]
    event: Happened | None = None
    seen: tuple[Array, ...] = ()

    @classmethod
    def begin(cls, problem: Problem, starts: Callable[[Array, Array], Array]) -> "GridState":
        """The state at the start, with the numbers of the steps to pick.

        `starts(t0, t1)` gives the start times of the steps of an interval.
        """
        zero = jnp.zeros(lanes_of(problem), problem.t0.dtype)
        steps = (_step_of(pick, problem, starts) for pick in problem.picks)
        picked = tuple(Picked(zero, problem.y0, zero, step) for step in steps)
        event = none_yet(problem) if problem.events else None
        return cls(problem.y0, jnp.zeros((), jnp.int32), picked, event, nothing_seen(problem))

    def on(
        self, y: State, t: Array, h: Array, event: Happened | None = None, seen: tuple[Array, ...] = ()
    ) -> "GridState":
        """The state after one more step, of size h from t, to the state y."""

        def picked(old: Picked) -> Picked:
            new = Picked(t, self.y, h, old.step)
            now = self.n == old.step
            return jax.tree.map(lambda a, b: jnp.where(spread(now, a), a, b), new, old)

        return GridState(y, self.n + 1, tuple(picked(old) for old in self.picked), event, seen)


def lanes_of(problem: Problem) -> tuple[int, ...]:
    """The shape of a time in a solve with a given number of steps: (), or (samples,) if samples have their own."""
    return (problem.samples,) if problem.own_times else ()


def in_order(ts: Array, t0: Array, t1: Array) -> Array:
    """Whether t0, *ts, t1 is monotone; one answer for each sample that has its own times. A row may end in NaN."""
    rows = lambda t: jnp.broadcast_to(t, ts.shape[1:])[None]
    ts = ts if ts.ndim == 1 else jnp.where(jnp.isnan(ts), rows(t1), ts)
    gaps = jnp.diff(jnp.concatenate([rows(t0), ts, rows(t1)]), axis=0)
    return jnp.where(t1 >= t0, jnp.all(gaps >= 0, axis=0), jnp.all(gaps <= 0, axis=0))


def through_times(
    cross: Callable[[Any, Array, Array], tuple[Any, Any]], start: Any, problem: Problem
) -> tuple[Any, Any, int, Any]:
    """Apply `cross(at, t_from, t_to) -> (at, records)` to each interval.

    An interval known to be empty at trace time (ts begins at t0, say) is skipped. With a traced ts this is not known,
    and the empty interval costs its evaluations.

    Returns:
        The last `at`, its `.y` at ts, the number of intervals, and the records of all intervals, one after the other.
    """
    t0, t1, ts, places = problem.t0, problem.t1, problem.ts, None
    if problem.own_times:
        t0, t1 = (jnp.broadcast_to(t, lanes_of(problem)) for t in (t0, t1))
    if problem.jumps is not None and not problem.jumps_at_outputs:
        nodes = problem.nodes()
        targets, places = (_each(x, problem) for x in (nodes.ends, nodes.places))
        ends_here = True
    elif ts is None:
        end, records = cross(start, t0, t1)
        return end, None, 1, records
    else:
        targets, ends_here = _filled(ts, problem)[1 if problem.saves_start else 0 :], problem.saves_end

    def save(carry, t):
        here, records = cross(carry[1], carry[0], t)
        return (t, here), (None if ts is None else here.y, records)

    (last, end), (ys, records) = jax.lax.scan(save, (t0, start), targets)
    records = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), records)
    intervals = len(targets)
    if not ends_here:
        end, more = cross(end, last, t1)
        records, intervals = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), records, more), intervals + 1
    if ts is not None and (places is not None or problem.saves_start):
        ys = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), start.y, ys)
    if places is not None:
        at = (places, jnp.arange(places.shape[1])) if problem.own_times else places
        ys = jax.tree.map(lambda x: x[at], ys)
    return end, ys, intervals, records


def nodes_of(problem: Problem) -> Array:
    """The ends of the intervals of a solve with a given number of steps, t0 included, (intervals + 1, *samples)."""
    lanes = lanes_of(problem)
    rows = lambda t: jnp.broadcast_to(t, lanes)[None]
    if problem.jumps is not None and not problem.jumps_at_outputs:
        return jnp.concatenate([rows(problem.t0), _each(problem.nodes().ends, problem)])
    nodes = [rows(problem.t0)]
    if problem.ts is not None:
        ts = _filled(problem.ts, problem)
        nodes.append(ts[1:] if problem.saves_start else ts)
    if problem.ts is None or not problem.saves_end:
        nodes.append(rows(problem.t1))
    return jnp.concatenate(nodes)


def _filled(ts: Array, problem: Problem) -> Array:
    """The output times, for samples with their own with t1 in place of NaN."""
    if not problem.own_times:
        return ts
    ts = _each(ts, problem)
    return jnp.where(jnp.isnan(ts), jnp.broadcast_to(problem.t1, ts.shape), ts)


def _each(times: Any, problem: Problem) -> Any:
    """The times, or their places, with a column for each sample if samples have their own."""
    if times is None or not problem.own_times:
        return times
    return jnp.broadcast_to(times[:, None] if times.ndim == 1 else times, (len(times), *lanes_of(problem)))


def _step_of(pick: Pick, problem: Problem, starts: Callable[[Array, Array], Array]) -> Count:
    """The number of the picked step: any of them, or the step that contains a given time."""
    nodes = nodes_of(problem)
    all_starts = jax.vmap(starts)(nodes[:-1], nodes[1:])
    all_starts = all_starts.reshape(-1, *all_starts.shape[2:])
    if pick.at is None:
        return jax.random.randint(pick.key, (), 0, len(all_starts), jnp.int32)
    each = lambda t: jnp.broadcast_to(t, all_starts.shape)
    passed = (each(pick.at) - all_starts) * each(problem.direction) >= 0
    return jnp.maximum(jnp.sum(passed, axis=0).astype(jnp.int32) - 1, 0)


def solution_of(problem: Problem, sound: Array, y1: State, ys: Any, nfe: int, steps: int) -> Solution:
    """The solution of a solve with known numbers of evaluations and steps; `concluded` checks its values.

    `sound` is false if coefficients are not reliable.
    """
    status = jnp.where(sound, int(Status.ok), int(Status.ill_conditioned))
    if problem.ts is not None:
        status = jnp.where(in_order(problem.ts, problem.t0, problem.t1), status, int(Status.unordered_times))
    evaluations, taken = jnp.asarray(nfe), jnp.asarray(steps)
    return Solution(y1, ys, Stats(evaluations, taken, jnp.zeros_like(taken), evaluations), status.astype(jnp.int32))

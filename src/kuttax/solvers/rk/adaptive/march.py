"""The loop of an adaptive solve: try a step, accept it if its error is small enough, choose the next step size."""

from collections.abc import Callable
from typing import Any, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ...._types import Count, State, Time
from ...base.dense import DenseOutput, Pieces
from ...base.event import first_event, none_yet, nothing_seen
from ...base.grid import in_order
from ...base.numbers import least_rtol
from ...base.pick import Pick, Picked, Recorded
from ...base.problem import Problem
from ...base.solution import Happened, Solution, Stats, Status, all_finite
from ...base.spread import pick, put, spread
from ..controller import Controller, initial_step
from ..rolled import blank_slopes, each_slope, with_first, with_slopes
from ..step import Step, interpolate, polynomial
from ..tableau import Tableau
from .tape import Tape

_RUNNING = -1


class StepSizeControl(Protocol):
    """The part of an `Adaptive` solver that the loop uses."""

    tableau: Tableau
    control: Any
    first_step: Any
    max_step: Any

    @property
    def error_exponent(self) -> int: ...
    def controller(self, dtype: Any) -> Controller: ...
    def norm(self, problem: Problem) -> Callable[[State], Time]: ...
    def stats(self, final: "AdaptiveState", problem: Problem) -> Stats: ...
    def costs_see_end(self, problem: Problem) -> bool: ...


def march(solver: StepSizeControl, problem: Problem, *, taped: bool, bounded: bool) -> "AdaptiveState":
    """Step from t0 to t1, or until the solve fails.

    Args:
        solver: The embedded pair, its tolerances and its step-size control.
        problem: The problem to solve.
        taped: Keep the accepted steps for a replay.
        bounded: Run a scan over max_steps, which JAX differentiates in both modes, in place of a while loop.
    """
    loop = _Loop(solver, problem, bounded)
    start = loop.start(taped)
    if not bounded:
        return jax.lax.while_loop(lambda state: state.active.any(), loop.attempt, start)

    def step(state, _):
        return jax.lax.cond(state.active.any(), loop.attempt, lambda state: state, state), None

    return jax.lax.scan(step, start, length=problem.max_steps)[0]


class AdaptiveState(eqx.Module):
    """The state of an adaptive solve. Every number is a scalar, or one for each sample under per-sample control.

    `ks` are the slopes of the last attempt, of which the first is the slope at y.
    """

    t: Time
    y: State
    ks: State
    h: Time
    error: Time
    accepted: Count
    rejected: Count
    status: Count
    saved: Count
    ys: Any
    recorded: Recorded
    tape: Tape | None
    jumps: Count | None = None
    event: Happened | None = None
    seen: tuple[Array, ...] = ()
    pieces: Pieces | None = None

    @property
    def active(self) -> Array:
        """Which samples are neither finished nor failed."""
        return self.status == _RUNNING

    def solution(self, stats: Stats, problem: Problem) -> Solution:
        """The `Solution` that `solve` returns."""
        dense = None
        if self.pieces is not None:
            end = self.t if self.event is None else jnp.where(self.event.index >= 0, self.event.t, self.t)
            samples = problem.samples if problem.batched else None
            dense = DenseOutput(
                self.pieces, self.accepted, origin=problem.clock.origin, t0=problem.t0, t1=end, samples=samples
            )
        return Solution(self.y, self.ys, stats, self.status, recorded=self.recorded, event=self.event, dense=dense)


class _Loop:
    """The loop body of one adaptive solve, with the values that stay constant during it."""

    def __init__(self, solver: "StepSizeControl", problem: Problem, bounded: bool):
        self.solver, self.problem, self.bounded = solver, problem, bounded
        self.tableau = solver.tableau
        self.dtype = problem.t0.dtype
        self.controller = solver.controller(self.dtype)
        self.lanes = (problem.samples,) if solver.control == "per_sample" else ()
        self.direction = problem.direction
        self.norm = solver.norm(problem)
        limit = jnp.inf if solver.max_step is None else solver.max_step
        self.max_step = jax.lax.stop_gradient(jnp.asarray(limit, self.dtype))

    def slope(self, start: Time) -> Callable[[Time, State], State]:
        """The field in a step from `start`."""
        field = self.problem.vector_field(start)
        return lambda t, y: field(t, y, self.problem.args)

    def start(self, taped: bool) -> AdaptiveState:
        problem, lanes = self.problem, self.lanes
        t = jnp.broadcast_to(problem.t0, lanes)
        y = problem.y0
        f = self.slope(t)
        k1 = f(t, y)
        span = jnp.broadcast_to(problem.t1 - problem.t0, lanes)
        frozen = jax.lax.stop_gradient((t, y, k1, span))
        if self.solver.first_step is None:
            h = initial_step(f, *frozen, self.controller, self.solver.error_exponent, self.norm)
        else:
            h = jnp.minimum(jnp.broadcast_to(jnp.asarray(self.solver.first_step, self.dtype), lanes), jnp.abs(span))
        zero = jnp.zeros(lanes, jnp.int32)
        begin = all_finite(y, k1, lanes=lanes)
        status = jnp.where(begin, _RUNNING, int(Status.non_finite)).astype(jnp.int32)
        status = self._refuse(status)
        ts, ys, saved = problem.ts, None, zero
        if ts is not None:
            saved = jnp.zeros(ts.shape[1:] or lanes, jnp.int32)
            ys = jax.tree.map(lambda x: jnp.full((len(ts), *x.shape), jnp.nan, x.dtype), y)
        size = self.tableau.stages, lanes, self.dtype, problem.max_steps, problem.operations
        tape = Tape.blank(y, *size) if taped else None
        h = jax.lax.stop_gradient(jnp.minimum(h, self.max_step)) * self.direction
        nothing = jnp.zeros(lanes, self.dtype)
        recorded = Recorded((nothing,) * len(problem.costs), (Picked(t, y, nothing, zero),) * len(problem.picks))
        jumps = None if problem.jumps is None else zero
        event = none_yet(problem) if problem.events else None
        numbers = (nothing + 1, zero, zero, status, saved, ys)
        seen = nothing_seen(problem)
        ks = with_first(blank_slopes(self.tableau, y), k1)
        return AdaptiveState(t, y, ks, h, *numbers, recorded, tape, jumps, event, seen, self._blank(y, nothing))

    def _blank(self, y: State, nothing: Time) -> Pieces | None:
        """Room for the dense output of every step that the solve may take."""
        if not self.problem.dense:
            return None
        room = lambda x: jnp.zeros((self.problem.max_steps, *x.shape), x.dtype)
        terms = jax.tree.map(room, y)
        return Pieces(room(nothing), room(nothing), (terms,) * (self.tableau.dense.shape[1] + 1))

    def _refuse(self, status: Count) -> Count:
        """The status for invalid numbers that were not known before the program ran."""
        low = self.controller.rtol < least_rtol(self.problem.precision)
        status = jnp.where(low, int(Status.tolerance), status)
        if self.problem.ts is not None:
            ordered = in_order(self.problem.ts, self.problem.t0, self.problem.t1)
            ordered = ordered if self.lanes else jnp.all(ordered)
            status = jnp.where(ordered, status, int(Status.unordered_times))
        return status

    def attempt(self, run: AdaptiveState) -> AdaptiveState:
        """Try one step, and accept it if its error is small enough."""
        t1 = self.problem.next_node(run.t)
        # Stretch a step rather than leave a very short last one.
        reaches = jnp.minimum(1.001 * jnp.abs(run.h), self.max_step) >= jnp.abs(t1 - run.t)
        # The nodes between t0, jumps and t1 count as constants: derivatives see a frozen mesh.
        end = jnp.where(reaches, t1, jax.lax.stop_gradient(run.t + run.h))
        h = end - run.t
        f = self.slope(run.t)
        y1, slopes = with_slopes(self.tableau, f, run.t, run.y, h, run.ks, known=True, end=True)
        ks = each_slope(slopes)
        step = Step(self.tableau, self.controller, run.t, h, run.y, y1, ks, self.norm)
        error = jax.lax.stop_gradient(self._error(step))
        take = run.active & (error <= 1)
        tape = None if run.tape is None else run.tape.record(run.accepted, run.t, h, run.y, slopes, take)
        event, seen, found, last = self._search(run, take, end, h, ks)
        saved, ys = self._save(run, take, last, h, slopes)
        factor = self.controller.factor(error, run.error, self.solver.error_exponent)
        h_next = jnp.clip(jax.lax.stop_gradient(h) * factor, -self.max_step, self.max_step)
        jumps, k1 = run.jumps, _where(take, ks[-1], ks[0])
        if jumps is not None:
            jumped = take & reaches & (t1 != self.problem.t1)
            reaches = reaches & (t1 == self.problem.t1)
            jumps, k1, h_next = self._jump(run, jumped, end, y1, k1, h_next)
        accepted = jnp.where(take, run.accepted + 1, run.accepted)
        rejected = jnp.where(run.active & ~take, run.rejected + 1, run.rejected)
        status = self._status(run, take, reaches, h_next, error, accepted + rejected)
        y = _where(take, y1, run.y)
        if event is not None:
            status = jnp.where(found, int(Status.ok), status).astype(jnp.int32)
            y = _where(found, interpolate(self.tableau, run.y, run.t, h, ks, last), y)
        return AdaptiveState(
            t=jnp.where(take, end, run.t),
            y=y,
            ks=with_first(slopes, k1),
            h=jnp.where(run.active, h_next, run.h),
            error=jnp.where(take, error, run.error),
            accepted=accepted,
            rejected=rejected,
            status=status,
            saved=saved,
            ys=ys,
            recorded=self._watch(run, take, end, step),
            tape=tape,
            jumps=jumps,
            event=event,
            seen=seen,
            pieces=self._piece(run, take, h, ks),
        )

    def _search(
        self, run: AdaptiveState, take: Array, end: Time, h: Time, ks: list[State]
    ) -> tuple[Any, tuple[Array, ...], Any, Time]:
        """The event so far, what the search saw last, whether one is in this step, and where the step's outputs end."""
        if run.event is None:
            return None, (), None, end
        at = lambda s: interpolate(self.tableau, run.y, run.t, h, ks, s)
        found = first_event(self.problem, at, run.t, h, run.seen)
        now = take & found.now
        event = Happened(jnp.where(now, found.index, run.event.index), jnp.where(now, found.t, run.event.t))
        seen = tuple(jnp.where(take, new, old) for new, old in zip(found.last, run.seen, strict=True))
        return event, seen, now, jnp.where(now, found.t, end)

    def _piece(self, run: AdaptiveState, take: Array, h: Time, ks: list[State]) -> Pieces | None:
        """The dense output with that of this step."""
        if run.pieces is None:
            return None
        new = Pieces(run.t, h, polynomial(self.tableau.dense, run.y, h, ks))

        def write(buffer: Array, value: Array) -> Array:
            index = jnp.minimum(run.accepted, self.problem.max_steps - 1)
            return put(buffer, index, _where(take, value, pick(buffer, index)))

        return jax.tree.map(write, run.pieces, new)

    def _jump(
        self, run: AdaptiveState, jumped: Array, t: Time, y: State, k1: State, h: Time
    ) -> tuple[Any, State, Time]:
        """The count of jumps, the slope after one, and the next step, which the step before did not shorten."""
        assert run.jumps is not None
        after = lambda k1: _where(jumped, self.slope(t)(t, y), k1)
        k1 = jax.lax.cond(jumped.any(), after, lambda k1: k1, k1)
        longer = jumped & (jnp.abs(run.h) > jnp.abs(h))
        return jnp.where(jumped, run.jumps + 1, run.jumps), k1, jnp.where(longer, run.h, h)

    def _error(self, step: Step) -> Time:
        """The norm of the step's error, infinite if its end state or the field there is not finite."""
        error, weights = step.error(), self.tableau.error
        assert weights is not None
        if weights[-1] != 0:  # the slope at the end is in the estimate
            return error
        return jnp.where(all_finite(self.problem.measured(step.ks[-1]), lanes=self.lanes), error, jnp.inf)

    def _watch(self, run: AdaptiveState, take, end: Time, step: Step) -> Recorded:
        """The records after an accepted step: its costs, and the picked values that fall into it."""
        charged = [jnp.where(take, cost(step), jnp.zeros_like(step.h)) for cost in self.problem.costs]
        costs = tuple(old + new for old, new in zip(run.recorded.costs, charged, strict=True))
        picks = zip(run.recorded.picked, self.problem.picks, strict=True)
        return Recorded(costs, tuple(self._pick(run, take, end, step, pick, old) for old, pick in picks))

    def _pick(self, run: AdaptiveState, take, end: Time, step: Step, pick: Pick, old: Picked) -> Picked:
        if pick.at is None:  # step n replaces the picked one with probability 1 / (n + 1)
            attempt = jnp.max(run.accepted + run.rejected)
            luck = jax.random.uniform(jax.random.fold_in(pick.key, attempt), self.lanes, self.dtype)
            now, at = take & (luck * (run.accepted + 1).astype(self.dtype) < 1), step.t
        else:
            inside = ((pick.at - step.t) * self.direction >= 0) & ((end - pick.at) * self.direction >= 0)
            now, at = take & inside, jnp.broadcast_to(pick.at, self.lanes)

        def there(_):
            y = step.y if pick.at is None else interpolate(self.tableau, step.y, step.t, step.h, step.ks, at)
            return _where(now, Picked(at, y, step.h, run.accepted), old)

        return jax.lax.cond(now.any(), there, lambda old: old, old)

    def _status(self, run: AdaptiveState, take, reaches, h_next, error, attempts) -> Count:
        status = jnp.where(attempts >= self.problem.max_steps, int(Status.max_steps), run.status)
        eps = jnp.finfo(self.dtype).eps
        # A step that failed at the smallest size is not retried; an accepted step must still advance t. NaN counts as
        # stuck.
        floor = jnp.where(take, eps, 10 * eps) * jnp.abs(run.t)
        stuck = ~(jnp.abs(h_next) > floor)
        cause = jnp.where(jnp.isfinite(error), int(Status.step_underflow), int(Status.non_finite))
        status = jnp.where(stuck, cause, status)
        status = jnp.where(take & reaches, int(Status.ok), status)
        return jnp.where(run.active, status, run.status).astype(jnp.int32)

    def _save(self, run: AdaptiveState, take, end: Time, h: Time, slopes: State) -> tuple[Count, Any]:
        """Write the dense output at every time of ts that this step has reached."""
        ts = self.problem.ts
        if ts is None:
            return run.saved, None
        count = len(ts)

        def at(index):
            return ts[index] if ts.ndim == 1 else pick(ts, index)

        def due(saved):  # false of NaN, after the end of a row
            ahead = (end - at(jnp.minimum(saved, count - 1))) * self.direction >= 0
            return take & (saved < count) & ahead

        def write(carry):
            saved, ys = carry
            index, now = jnp.minimum(saved, count - 1), due(saved)
            value = interpolate(self.tableau, run.y, run.t, h, each_slope(slopes), at(index))
            ys = jax.tree.map(lambda buffer, x: put(buffer, index, _where(now, x, pick(buffer, index))), ys, value)
            return jnp.where(now, saved + 1, saved), ys

        start = (run.saved, run.ys)
        if self.bounded:  # JAX can reverse only loops of fixed length
            maybe = lambda _, carry: jax.lax.cond(due(carry[0]).any(), write, lambda c: c, carry)
            return jax.lax.fori_loop(0, count, maybe, start)
        return jax.lax.while_loop(lambda carry: due(carry[0]).any(), write, start)


def _where(take: Array, new: State, old: State) -> State:
    return jax.tree.map(lambda a, b: jnp.where(spread(take, a), a, b), new, old)

"""The exact reverse pass of an adaptive solve: it goes through the accepted steps from the last to the first."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ...._types import Count, State, Time
from ...base.closure import converted, cotangent, parameters, with_parameters
from ...base.dense import Pieces, derived, horner, share
from ...base.once import once
from ...base.pick import Pick
from ...base.problem import Problem
from ...base.solution import Happened, Solution
from ...base.spread import inner, pick, put, spread
from ..rolled import blank_slopes, with_slopes
from ..step import Step, polynomial
from .march import StepSizeControl, march
from .step_back import StepBack
from .tape import Tape


def solve_replayed(solver: StepSizeControl, problem: Problem) -> Solution:
    """The solution, with a reverse mode that replays the accepted steps from the states on a `Tape`."""
    return _solve(converted(problem), jax.lax.stop_gradient(solver))


@eqx.filter_custom_vjp
def _solve(problem: Problem, solver: StepSizeControl) -> Solution:
    final = march(solver, problem, taped=False, bounded=False)
    return final.solution(solver.stats(final, problem), problem)


@_solve.def_fwd
def _forward(perturbed, problem: Problem, solver: StepSizeControl):
    final = march(solver, problem, taped=True, bounded=False)
    kept = (final.tape, final.accepted, final.saved, tuple(one.step for one in final.recorded.picked), final.event)
    return once(
        (final.solution(solver.stats(final, problem), problem), (kept, perturbed))
    )  # in the residuals `perturbed` stays static


@_solve.def_bwd
def _backward(residuals, cotangents: Solution, _, problem: Problem, solver: StepSizeControl):
    kept, moved = residuals
    tape, accepted, saved, picked, event = jax.tree.map(jnp.asarray, kept)  # outside of jit some come back as NumPy
    replay = _Replay(problem, moved, solver, tape, accepted, cotangents, picked)
    y1 = eqx.combine(cotangents.y1, jax.tree.map(jnp.zeros_like, problem.y0))
    if event is not None:
        y1 = replay.split_at(event, y1)
    return once(replay.pull(y1, saved))


class _Pull(NamedTuple):
    """Cotangents summed so far (None: not differentiated), and the number of outputs still to visit."""

    y: State
    parameters: PyTree
    ends: tuple[Array, Array] | None
    ts: Any
    waiting: Count
    jumps: Any = None


class _Replay:
    """The reverse pass of one adaptive solve. It computes cotangents only for the inputs marked in `moved`."""

    def __init__(
        self,
        problem: Problem,
        moved: Problem,
        solver: StepSizeControl,
        tape: Tape,
        accepted: Count,
        cotangents: Solution,
        picked: tuple[Count, ...],
    ):
        self.problem, self.solver, self.tape, self.accepted = problem, solver, tape, accepted
        self.tableau = solver.tableau
        self.saves = bool(jax.tree.leaves(cotangents.ys))
        asked = [(i, d) for i, d in enumerate(cotangents.recorded.costs) if d is not None]
        self.charges, self.dcosts = [i for i, _ in asked], [cotangent for _, cotangent in asked]
        zeros = jax.tree.map(jnp.zeros_like, problem.y0)
        self.picks = [
            (pick, step, eqx.combine(one.y, zeros))
            for pick, step, one in zip(problem.picks, picked, cotangents.recorded.picked, strict=True)
            if jax.tree.leaves(one.y)
        ]
        inside = any(pick.at is not None for pick, *_ in self.picks)  # of a step, where its dense output is needed
        self.pieces = self._pieces(cotangents.dense)
        self.inside = self.saves or inside or problem.dense or bool(problem.events)
        if problem.ts is not None and self.saves:
            count = len(problem.ts)
            zeros = jax.tree.map(lambda x: jnp.zeros((count, *x.shape), x.dtype), problem.y0)
            self.ys_cotangent = eqx.combine(cotangents.ys, zeros)
        self.varied, self.rest = parameters(problem, moved)
        self.jumps_move, self.ts_move = bool(moved.jumps), bool(moved.ts)
        self.ends_move = moved.t0 or moved.t1 or self.jumps_move
        end = self.inside or (bool(self.charges) and solver.costs_see_end(problem))
        many = (self.varied, end, bool(self.charges), self.ends_move)
        self.one = StepBack(self.tableau, self._field, self._results, *many)
        # The slopes of a large state are slow to store. A small field is evaluated again in less time.
        self.written = not tape.slopes and problem.unrolled(1, self.tableau.stages) != "none"
        self.direction = problem.direction

    def _pieces(self, dense: Any) -> Pieces | None:
        """The cotangents of the dense output; None if they are zero."""
        if dense is None or not jax.tree.leaves(dense.pieces):
            return None
        room = lambda x: jnp.zeros((self.problem.max_steps, *x.shape), x.dtype)
        terms = jax.tree.map(room, self.problem.y0)
        times = jnp.zeros_like(self.tape.t)
        blank = Pieces(times, times, (terms,) * (self.tableau.dense.shape[1] + 1))
        return eqx.combine(dense.pieces, blank)

    def split_at(self, event: Happened, y1: State) -> State:
        """The cotangent of the last steps' ends; that of the states at events goes into the steps that contain them."""
        found = event.index >= 0
        where = lambda now, d: jnp.where(spread(now, d), d, jnp.zeros_like(d))
        inside = jax.tree.map(lambda d: where(found, d), y1)
        self.picks.append((Pick(event.t), self.accepted - 1, inside))
        return jax.tree.map(lambda d: where(~found, d), y1)

    def pull(self, y1: State, saved: Count) -> Problem:
        """The cotangent of the problem, from the cotangents of the state at t1 and of the outputs."""
        problem, zero = self.problem, jnp.zeros_like(self.problem.t0)
        ends = (zero, zero) if self.ends_move else None
        ts = jnp.zeros_like(problem.ts) if self.ts_move else None
        jumps = jnp.zeros_like(problem.jumps) if self.jumps_move else None
        start = _Pull(y1, jax.tree.map(jnp.zeros_like, self.varied), ends, ts, saved, jumps)
        end = self._all_steps(start)
        t0, t1 = (None, None) if end.ends is None else end.ends
        return cotangent(problem, parameters=end.parameters, y0=end.y, t0=t0, t1=t1, ts=end.ts, jumps=end.jumps)

    def _all_steps(self, pull: _Pull) -> _Pull:
        """Pull the cotangents back through all steps, from the last to the first.

        The first `known` steps are one stretch: the tape holds all that they need. The steps of each later stretch are
        recomputed into a buffer, from the last kept state before it.
        """
        tape, total = self.tape, self.accepted.max()
        stride = tape.stride(jnp.maximum(total - 1, 0))
        known = jnp.where(stride == 1, jnp.minimum(total, tape.slots if self.written else tape.slopes), 0)
        length = jnp.where(stride == 1, tape.chunk, jnp.minimum(stride, tape.chunk))

        def stretch(carry):
            last, buffer, pull = carry
            stored = last <= known
            first = jnp.where(stored, 0, jnp.maximum(_floor(last - 1, length), known))
            buffer = self._recomputed(buffer, _floor(first, stride), first, jnp.where(stored, 0, last))

            def step(i, pull):
                n = last - 1 - i
                y, ks = jax.tree.map(lambda b: b[jnp.minimum(n - first, tape.chunk - 1)], buffer)
                if self.written or tape.slopes:
                    kept = tape.state(n), None if self.written else tape.slopes_of(n)
                    y, ks = jax.tree.map(lambda kept, again: jnp.where(stored, kept, again), kept, (y, ks))
                return self._step(n, y, ks, pull)

            return first, buffer, jax.lax.fori_loop(0, last - first, step, pull)

        room = lambda x: jnp.zeros((tape.chunk, *x.shape), x.dtype)
        y = self.problem.y0
        blank = jax.tree.map(room, (y, None if self.written else blank_slopes(self.tableau, y)))
        return jax.lax.while_loop(lambda carry: carry[0] > 0, stretch, (total, blank, pull))[2]

    def _recomputed(self, buffer: Any, kept: Count, first: Count, last: Count) -> Any:
        """`buffer` with the states and slopes from step `first` to `last`; the state of step `kept` is on the tape."""

        def advance(n, carry):
            y, ks, buffer = carry
            t, h = self._times(n)
            y = self._present(n, y)
            f = self._field(self.varied, t)
            y1, ks = with_slopes(self.tableau, f, t, y, h, ks, known=False, end=self.one.end)
            return y1, ks, _put(buffer, jnp.maximum(n - first, 0), (y, None if self.written else ks))

        start = (self.tape.state(kept), blank_slopes(self.tableau, self.problem.y0), buffer)
        return jax.lax.fori_loop(jnp.minimum(kept, last), last, advance, start)[2]

    def _present(self, n, y: State) -> State:
        """`y`; for a sample that has no step n, y0 of the sample with the most steps, where the field is finite.

        The sample's own state may be a point where it failed. The field is NaN there, and NaN times a zero cotangent
        would make the sum over all samples NaN.
        """
        if self.accepted.ndim == 0:
            return y
        has, longest = n < self.accepted, jnp.argmax(self.accepted)
        return jax.tree.map(lambda y, y0: jnp.where(spread(has, y), y, y0[longest][None]), y, self.problem.y0)

    def _times(self, n) -> tuple[Time, Time]:
        """Start and size of step n; size zero for a sample that has no such step, so that nothing changes."""
        has, t, h = n < self.accepted, self.tape.t[n], self.tape.h[n]
        return jnp.where(has, t, self.problem.t0), jnp.where(has, h, jnp.zeros_like(h))

    def _with(self, varied) -> Problem:
        return with_parameters(self.problem, varied, self.rest)

    def _field(self, varied, start: Time):
        """The field in a step from `start`."""
        problem = self._with(varied)
        field = problem.vector_field(start)
        return lambda t, y: field(t, y, problem.args)

    def _step(self, n, y: State, ks: Any, pull: _Pull) -> _Pull:
        """Pull the cotangent at the end of step n back to its start. Without slopes `ks` the stages are written out."""
        times = self._times(n)
        y = self._present(n, y)
        (terms, _), back = self.one.written(y, times) if ks is None else self.one.looped(y, ks, times)
        extra, pull = self._outputs(n, y, terms, times, pull)
        extra = self._picked(n, terms, times, self._piece(n, extra))
        due = [jnp.where(n < self.accepted, d, jnp.zeros_like(d)) for d in self.dcosts]
        total, dy, dtimes = back(pull.y, (extra.terms, due), pull.parameters)
        dtimes = jax.tree.map(jnp.add, dtimes, extra.times)
        return pull._replace(
            y=jax.tree.map(jnp.add, dy, extra.y),
            parameters=total,
            ends=self._ends(n, pull.ends, dtimes),
            jumps=self._at_jumps(n, pull.jumps, dtimes),
        )

    def _results(self, varied, y: State, y1: State, ks: list[State], times: tuple[Time, Time]) -> Any:
        """The polynomial of a step, if there are values inside of it, and its costs."""
        terms = polynomial(self.tableau.dense, y, times[1], ks) if self.inside else ()
        return terms, self._charged(varied, times, y, y1, ks)

    def _piece(self, n, extra: "_Extra") -> "_Extra":
        """`extra` plus the cotangent of the dense output of step n."""
        if self.pieces is None:
            return extra
        has = n < self.accepted
        of_step = jax.tree.map(lambda x: jnp.where(spread(has, x[n]), x[n], jnp.zeros_like(x[n])), self.pieces)
        times = None if extra.times is None else (extra.times[0] + of_step.t, extra.times[1] + of_step.h)
        return _Extra(extra.y, jax.tree.map(jnp.add, extra.terms, of_step.terms), times)

    def _charged(self, varied, times: tuple[Time, Time], y: State, y1: State, ks: list[State]) -> list[Time]:
        """The costs of one step whose cotangents are not zero."""
        controller, norm = self.solver.controller(times[0].dtype), self.solver.norm(self.problem)
        step = Step(self.tableau, controller, times[0], times[1], y, y1, ks, norm)
        costs = self._with(varied).costs
        return [costs[i](step) for i in self.charges]

    def _picked(self, n, terms: tuple[State, ...], times: tuple[Time, Time], extra: "_Extra") -> "_Extra":
        """Pull the cotangents of the values picked in step n back to the step; the step's time is constant."""
        for asked, step, dy in self.picks:
            now = (n == step) & (n < self.accepted)

            def add(extra, asked=asked, now=now, dy=dy):
                dy = jax.tree.map(lambda d: jnp.where(spread(now, d), d, jnp.zeros_like(d)), dy)
                if asked.at is None:
                    return extra._replace(y=jax.tree.map(jnp.add, extra.y, dy))
                at = jnp.broadcast_to(asked.at, times[0].shape)
                return self._at(at, dy, terms, times, extra)[0]

            extra = jax.lax.cond(now.any(), add, lambda extra: extra, extra)
        return extra

    def _at(
        self, at: Time, dy: State, terms: tuple[State, ...], times: tuple[Time, Time], extra: "_Extra"
    ) -> tuple["_Extra", Time | None]:
        """`extra` plus the cotangent of the state at a time in a step, where it is dy; and the cotangent of that time.

        The state is sum_j terms[j] theta^j with theta = (at - t) / h.
        """
        t, h = times
        theta = share(at, t, h)
        weighted, found = dy, []
        for one in extra.terms:
            found.append(jax.tree.map(jnp.add, one, weighted))
            weighted = jax.tree.map(lambda x: x * spread(theta, x), weighted)
        if not (self.ends_move or self.ts_move):
            return extra._replace(terms=tuple(found)), None
        rate = inner(horner(derived(terms), theta), dy, theta) / jnp.where(h == 0, jnp.ones_like(h), h)
        moved = extra.times
        if moved is not None:
            fit = lambda x: x if t.ndim == x.ndim else jnp.sum(x)
            moved = moved[0] - fit(rate), moved[1] - fit(rate * theta)
        return _Extra(extra.y, tuple(found), moved), rate

    def _ends(self, n, ends: tuple[Array, Array] | None, dtimes: tuple[Time, Time] | None):
        """`ends` plus the contribution of step n: h = node after - node before; inner nodes are constants."""
        if ends is None or dtimes is None:
            return None
        dt, dh = dtimes
        first, last = n == 0, n == self.accepted - 1
        zero = jnp.zeros_like(dt)
        each = (lambda x: x) if ends[0].ndim else jnp.sum
        return ends[0] + each(jnp.where(first, dt - dh, zero)), ends[1] + each(jnp.where(last, dh, zero))

    def _at_jumps(self, n, jumps: Any, dtimes: tuple[Time, Time] | None):
        """`jumps` plus the contribution of step n, if it starts or ends at one of them."""
        if jumps is None or dtimes is None:
            return None
        (dt, dh), clock = dtimes, self.problem.clock
        start, has = self.tape.t[n], n < self.accepted
        following = self.tape.t[jnp.minimum(n + 1, len(self.tape.t) - 1)]
        ends = has & (n < self.accepted - 1) & (following == self.problem.next_node(start))
        begins = has & (n > 0) & clock.at_jump(start)
        for now, time, change in ((begins, start, dt - dh), (ends, following, dh)):
            index = jnp.maximum(clock.passed(time) - 1, 0)
            change = jnp.where(now, change, jnp.zeros_like(change))
            own = jumps.ndim == 2
            jumps = jumps.at[(index, jnp.arange(index.shape[0])) if own else index].add(change)
        return jumps

    def _outputs(
        self, n, y: State, terms: tuple[State, ...], times: tuple[Time, Time], pull: _Pull
    ) -> tuple["_Extra", _Pull]:
        """Pull the cotangents of the outputs that step n wrote back to the step's own quantities."""
        zeros = lambda tree: jax.tree.map(jnp.zeros_like, tree)
        none = _Extra(zeros(y), zeros(terms), zeros(times) if self.ends_move else None)
        if not self.saves:
            return none, pull
        ts = self.problem.ts
        assert ts is not None

        def time(index):
            return ts[index] if ts.ndim == 1 else pick(ts, index)

        def written(waiting):
            inside = ((time(jnp.maximum(waiting - 1, 0)) - times[0]) * self.direction > 0) | (n == 0)
            return (waiting > 0) & inside & (n < self.accepted)

        def body(carry):
            extra, dts, waiting = carry
            now, index = written(waiting), jnp.maximum(waiting - 1, 0)
            dys = jax.tree.map(lambda b: pick(b, index), self.ys_cotangent)
            dys = jax.tree.map(lambda d: jnp.where(spread(now, d), d, jnp.zeros_like(d)), dys)
            extra, dat = self._at(time(index), dys, terms, times, extra)
            if self.ts_move:
                dts = dts.at[index if ts.ndim == 1 else (index, jnp.arange(index.shape[0]))].add(dat)
            return extra, dts, jnp.where(now, waiting - 1, waiting)

        carry = (none, pull.ts, pull.waiting)
        extra, dts, waiting = jax.lax.while_loop(lambda c: written(c[2]).any(), body, carry)
        return extra, pull._replace(ts=dts, waiting=waiting)


class _Extra(NamedTuple):
    """Cotangents of a step's start, polynomial and times that come from the states inside of it."""

    y: State
    terms: tuple[State, ...]
    times: tuple[Time, Time] | None


def _floor(n: Count, unit: Count) -> Count:
    """The largest multiple of `unit` that is not above n >= 0."""
    return n - jax.lax.rem(n, unit)


def _put(buffer: State, index: Any, value: State) -> State:
    return jax.tree.map(lambda b, x: put(b, index, x), buffer, value)

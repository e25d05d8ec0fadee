"""DiscreteAdjoint: the exact derivative of the discrete solution, by replaying the accepted steps."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._types import Count, State, Time
from ..solvers.adaptive import Adaptive, interpolate, step_with_end, step_without_end
from ..solvers.base import AbstractSolver, Problem
from ..solvers.solution import Solution
from ..solvers.stages import spread
from ..solvers.tape import Tape, pick, put
from .base import AbstractAdjoint
from .closure import converted, cotangent, parameters, with_parameters


class DiscreteAdjoint(AbstractAdjoint):
    """Reverse mode, exact for the numbers that the forward solve computed ("discretise, then optimise").

    A fixed-step solve is a plain scan and needs no rule. An adaptive one keeps its accepted steps; the reverse pass
    takes them from the last to the first, recomputes each and pulls the cotangent through it. The nodes between t0 and
    t1 count as constants; t0, t1 and ts carry gradients.
    """

    def run(self, solver: AbstractSolver, problem: Problem) -> Solution:
        if not isinstance(solver, Adaptive):
            return solver.run(problem, "reverse")
        return _solve(converted(problem), jax.lax.stop_gradient(solver))


@eqx.filter_custom_vjp
def _solve(problem: Problem, solver: Adaptive) -> Solution:
    return solver.run(problem, "none")


@_solve.def_fwd
def _forward(perturbed, problem: Problem, solver: Adaptive):
    del perturbed
    final = solver.march(problem, taped=True, bounded=False)
    return final.solution(solver.stats(final)), (final.tape, final.accepted, final.saved)


@_solve.def_bwd
def _backward(kept, cotangents: Solution, perturbed, problem: Problem, solver: Adaptive):
    del perturbed
    tape, accepted, saved = jax.tree.map(jnp.asarray, kept)  # outside of jit some come back as NumPy
    replay = _Replay(problem, solver, tape, accepted, cotangents.ys)
    return replay.pull(eqx.combine(cotangents.y1, jax.tree.map(jnp.zeros_like, problem.y0)), saved)


class _Pull(NamedTuple):
    """Cotangents gathered so far, and how many outputs are still to come."""

    y: State
    parameters: PyTree
    t0: Time
    t1: Time
    ts: Any
    waiting: Count


class _Replay:
    """The reverse pass of one adaptive solve: its steps again, from the last to the first."""

    def __init__(self, problem: Problem, solver: Adaptive, tape: Tape, accepted: Count, ys_cotangent: Any):
        self.problem, self.solver, self.tape, self.accepted = problem, solver, tape, accepted
        self.tableau = solver.tableau
        self.saves = bool(jax.tree.leaves(ys_cotangent))
        if problem.ts is not None and self.saves:
            count = len(problem.ts)
            zeros = jax.tree.map(lambda x: jnp.zeros((count, *x.shape), x.dtype), problem.y0)
            self.ys_cotangent = eqx.combine(ys_cotangent, zeros)
        self.varied, self.rest = parameters(problem)
        self.direction = problem.direction

    def pull(self, y1: State, saved: Count) -> Problem:
        """The cotangent of the problem from that of the state at t1 (and of the outputs)."""
        problem, zero = self.problem, jnp.zeros_like(self.problem.t0)
        ts = None if problem.ts is None else jnp.zeros_like(problem.ts)
        start = _Pull(y1, jax.tree.map(jnp.zeros_like, self.varied), zero, zero, ts, saved)
        end = self._chunks(start)
        return cotangent(problem, parameters=end.parameters, y0=end.y, t0=end.t0, t1=end.t1, ts=end.ts)

    def _chunks(self, start: _Pull) -> _Pull:
        """All steps, in chunks whose states fit a buffer, each chunk recomputed from the last state kept before it."""
        total = self.accepted.max()
        stride = self.tape.stride(jnp.maximum(total - 1, 0))
        length = jnp.minimum(stride, self.tape.chunk)
        buffer = self.tape.blank_chunk()

        def reverse(carry):
            first, buffer, pull = carry
            last = jnp.minimum(first + length, total)
            kept = (first // stride) * stride
            y = self.tape.state(kept)
            y = jax.lax.fori_loop(kept, first, lambda n, y: self._advance(n, y), y)
            buffer = _put(buffer, jnp.zeros_like(first), y)

            def fill(n, carry):
                y, buffer = carry
                y = self._advance(n, y)
                return y, _put(buffer, n + 1 - first, y)

            _, buffer = jax.lax.fori_loop(first, last - 1, fill, (y, buffer))

            def step(i, pull):
                n = last - 1 - i
                return self._step(n, jax.tree.map(lambda b: b[n - first], buffer), pull)

            pull = jax.lax.fori_loop(0, last - first, step, pull)
            return first - length, buffer, pull

        begin = ((total - 1) // length) * length
        return jax.lax.while_loop(lambda carry: carry[0] >= 0, reverse, (begin, buffer, start))[2]

    def _present(self, n, y: State) -> State:
        """`y`; for a sample that has no step n, a state where the field is finite: y0 of the sample with most steps.

        Its own state may be where it failed, and the product of a NaN with its cotangent, zero, would be NaN for all.
        """
        if self.accepted.ndim == 0:
            return y
        has, longest = n < self.accepted, jnp.argmax(self.accepted)
        return jax.tree.map(lambda y, y0: jnp.where(spread(has, y), y, y0[longest][None]), y, self.problem.y0)

    def _times(self, n) -> tuple[Time, Time]:
        """Start and size of step n; size zero, which changes nothing, for a sample that has no such step."""
        has, t, h = n < self.accepted, self.tape.t[n], self.tape.h[n]
        return jnp.where(has, t, self.problem.t0), jnp.where(has, h, jnp.zeros_like(h))

    def _field(self, varied):
        problem = with_parameters(self.problem, varied, self.rest)
        field = self.solver.vector_field(problem)
        return lambda t, y: field(t, y, problem.args)

    def _advance(self, n, y: State) -> State:
        t, h = self._times(n)
        return step_without_end(self.tableau, self._field(self.varied), t, self._present(n, y), h)[0]

    def _step(self, n, y: State, pull: _Pull) -> _Pull:
        """Pull the cotangent at the end of step n back to its start."""
        t, h = self._times(n)
        y = self._present(n, y)
        advance = step_with_end if self.saves else step_without_end

        def forward(varied, y, t, h):
            y1, ks = advance(self.tableau, self._field(varied), t, y, h)
            return y1, (ks if self.saves else [])

        (_, ks), back = jax.vjp(forward, self.varied, y, t, h)
        extra, pull = self._outputs(n, y, t, h, ks, pull)
        varied, dy, dt, dh = back((pull.y, extra.ks))
        dt, dh = dt + extra.t, dh + extra.h
        begins, ends = n == 0, n == self.accepted - 1
        return _Pull(
            y=jax.tree.map(jnp.add, dy, extra.y),
            parameters=jax.tree.map(jnp.add, pull.parameters, varied),
            # h = node after - node before; the nodes between t0 and t1 are constants.
            t0=pull.t0 + jnp.sum(jnp.where(begins, dt - dh, jnp.zeros_like(dt))),
            t1=pull.t1 + jnp.sum(jnp.where(ends, dh, jnp.zeros_like(dh))),
            ts=pull.ts,
            waiting=pull.waiting,
        )

    def _outputs(self, n, y: State, t: Time, h: Time, ks: list[State], pull: _Pull) -> tuple["_Extra", _Pull]:
        """Pull the cotangents of the outputs that step n wrote back to the step's own quantities."""
        zeros = lambda tree: jax.tree.map(jnp.zeros_like, tree)  # noqa: E731
        none = _Extra(zeros(y), jnp.zeros_like(t), jnp.zeros_like(h), zeros(ks))
        if not self.saves:
            return none, pull
        ts = self.problem.ts
        assert ts is not None

        def written(waiting):
            inside = ((ts[jnp.maximum(waiting - 1, 0)] - t) * self.direction > 0) | (n == 0)
            return (waiting > 0) & inside & (n < self.accepted)

        def body(carry):
            extra, dts, waiting = carry
            now, index = written(waiting), jnp.maximum(waiting - 1, 0)
            dys = jax.tree.map(lambda b: pick(b, index), self.ys_cotangent)
            dys = jax.tree.map(lambda d: jnp.where(spread(now, d), d, jnp.zeros_like(d)), dys)
            _, back = jax.vjp(lambda *x: interpolate(self.tableau, *x), y, t, h, ks, ts[index])
            *step, dat = back(dys)
            return (
                jax.tree.map(jnp.add, extra, _Extra(*step)),
                dts.at[index].add(dat),
                jnp.where(now, waiting - 1, waiting),
            )

        carry = (none, pull.ts, pull.waiting)
        extra, dts, waiting = jax.lax.while_loop(lambda c: written(c[2]).any(), body, carry)
        return extra, pull._replace(ts=dts, waiting=waiting)


class _Extra(NamedTuple):
    """Cotangents of a step's quantities that come from its outputs."""

    y: State
    t: Time
    h: Time
    ks: list[State]


def _put(buffer: State, index: Any, value: State) -> State:
    return jax.tree.map(lambda b, x: put(b, index, x), buffer, value)

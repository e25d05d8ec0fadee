"""Adaptive: an embedded pair with step-size control, joint or per sample."""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from ..._types import Count, State, Time, VectorField
from ...errors import UserError
from ..base.pick import Pick, Picked, Watched
from ..base.solution import Solution, Stats, Status, all_finite
from ..base.solver import AbstractSolver, Derivative, Problem
from .controller import Controller, initial_step, rms
from .fixed import in_order
from .stages import spread
from .step import Step, interpolate, step_with_end
from .tableaus import Tableau
from .tape import Tape, pick, put

_RUNNING = -1


def number(name: str, least: float | None = None, most: float = np.inf, *, optional: bool = False) -> Any:
    """A converter: the number as an array leaf, so that changing it never recompiles; checked where it is known.

    Args:
        name: What the error calls it.
        least: The smallest value; None: it must be above zero.
        most: The largest value.
        optional: Whether None may stand in its place.
    """
    allowed = "> 0" if least is None else f">= {least:g}"
    allowed += "" if most == np.inf else f" and <= {most:g}"

    def convert(value: Any) -> Any:
        if (isinstance(value, Tracer) and value.ndim == 0) or (optional and value is None):
            return value
        try:
            number = np.asarray(value, np.float64)
        except (TypeError, ValueError):  # a traced array raises a TypeError
            number = np.asarray(np.nan)
        low = number.ndim or not np.isfinite(number) or (number <= 0 if least is None else number < least)
        if low or number > most:
            raise UserError(f"{name} must be a number {allowed}, got {value!r}")
        return value if isinstance(value, jax.Array) else number

    return convert


class Adaptive(AbstractSolver):
    """An explicit embedded Runge-Kutta pair whose steps keep the estimated local error below the tolerance.

    Every attempted step costs as many evaluations as the tableau has stages: the slope at the end of an accepted step
    is the first one of the next.

    Attributes:
        tableau: An embedded pair; its own dense output gives the states at `ts`.
        rtol, atol: Relative and absolute tolerance of one step's error.
        control: "joint": one step size for the whole state. "per_sample": each sample of the batch axis has its own.
        pcoeff, icoeff: Coefficients of the PI controller (see `Controller`).
        safety: Aim at this fraction of the step that the error estimate allows.
        factor_min, factor_max: Limits of the change from one step to the next.
        first_step: Size of the first step, without sign; None for Hairer's heuristic, at one more evaluation.
        max_step: The largest step, without sign; None for no limit. A step is as long as its error estimate allows, and
            the estimate sees nothing between the stages: give a limit where the field has features that are short
            beside the time in which the solution changes, such as a pulse of its input.

    Raises:
        UserError: The tableau has no embedded pair, a number is out of its range, or `control` is unknown.
    """

    tableau: Tableau = eqx.field(static=True)
    rtol: Any = eqx.field(converter=number("rtol"), default=1e-5)
    atol: Any = eqx.field(converter=number("atol", 0.0), default=1e-5)
    control: Literal["joint", "per_sample"] = eqx.field(static=True, default="joint", kw_only=True)
    pcoeff: Any = eqx.field(converter=number("pcoeff", 0.0), default=0.2, kw_only=True)
    icoeff: Any = eqx.field(converter=number("icoeff"), default=0.65, kw_only=True)
    safety: Any = eqx.field(converter=number("safety", most=1.0), default=0.9, kw_only=True)
    factor_min: Any = eqx.field(converter=number("factor_min", most=0.99), default=0.2, kw_only=True)
    factor_max: Any = eqx.field(converter=number("factor_max", 1.0), default=10.0, kw_only=True)
    first_step: Any = eqx.field(converter=number("first_step", optional=True), default=None, kw_only=True)
    max_step: Any = eqx.field(converter=number("max_step", optional=True), default=None, kw_only=True)

    def __check_init__(self):
        if self.tableau.error is None:
            raise UserError(
                f"{self.tableau.name} has no embedded pair to control steps with: use FixedSteps, or a pair like DOPRI5"
            )
        if self.control not in ("joint", "per_sample"):
            raise UserError(f"control must be 'joint' or 'per_sample', got {self.control!r}")

    def controller(self, dtype) -> Controller:
        """The numbers of the step-size control in `dtype`, constant under differentiation."""
        numbers = (self.rtol, self.atol, self.pcoeff, self.icoeff, self.safety, self.factor_min, self.factor_max)
        return Controller(*(jax.lax.stop_gradient(jnp.asarray(x, dtype)) for x in numbers))

    @property
    def error_exponent(self) -> int:
        """k: the error estimate of one step shrinks as h^k."""
        order = self.tableau.error_order
        assert order is not None
        return min(self.tableau.order, order) + 1

    def check(self, problem: Problem) -> None:
        if self.control == "per_sample" and not problem.batched:
            raise UserError("control='per_sample' needs batch_axis: say which axis of y0 counts the samples")
        refuse_low_rtol(self.rtol, problem.precision)

    def run(self, problem: Problem, derivative: Derivative) -> Solution:
        final = self.march(problem, taped=False, bounded=derivative != "none")
        return final.solution(self.stats(final, problem))

    def vector_field(self, problem: Problem) -> VectorField:
        """The field on the whole state, with the times that this control has."""
        return problem.vector_field(per_sample=self.control == "per_sample")

    def norm(self, problem: Problem) -> Callable[[State], Time]:
        """The root mean square of what counts in a state, or of each sample's own."""
        return lambda state: rms(problem.measured(state), self.control == "per_sample")

    def march(self, problem: Problem, *, taped: bool, bounded: bool) -> "March":
        """Step from t0 to t1, or until nothing more can be done.

        Args:
            problem: What to solve.
            taped: Keep the accepted steps for a replay.
            bounded: Run a scan over max_steps, which JAX differentiates in both modes, in place of a while loop.
        """
        march = _Marcher(self, problem, bounded)
        run = march.start(taped)
        if not bounded:
            return jax.lax.while_loop(lambda run: run.active.any(), march.attempt, run)

        def step(run, _):
            return jax.lax.cond(run.active.any(), march.attempt, lambda run: run, run), None

        return jax.lax.scan(step, run, length=problem.max_steps)[0]

    def stats(self, final: "March", problem: Problem) -> Stats:
        """Exact counts: two evaluations at the start (one without Hairer's heuristic), s for every attempt.

        A reverse pass takes s products a step, and one more, at its end, where there are outputs or picked states to
        interpolate, or costs to differentiate.
        """
        start, s = 2 if self.first_step is None else 1, self.tableau.stages
        nfe = start + s * (final.accepted + final.rejected)
        inside = any(pick.moves and pick.at is not None for pick in problem.picks)
        ends = final.ys is not None or bool(problem.costs) or inside
        backward = (s + 1 if ends else s) * final.accepted
        return Stats(nfe, final.accepted, final.rejected, backward)

    def __str__(self) -> str:
        control = "" if self.control == "joint" else ", per sample"
        first = "" if self.first_step is None else f", first_step={_said(self.first_step)}"
        most = "" if self.max_step is None else f", max_step={_said(self.max_step)}"
        return f"Adaptive({self.tableau.name}, rtol={_said(self.rtol)}, atol={_said(self.atol)}{first}{most}{control})"


def _said(number: Any) -> str:
    """As it was given, where float32 has made 0.0010000000475 of it."""
    try:
        return f"{float(number):.6g}"
    except TypeError:  # inside of a program
        return str(number)


class March(eqx.Module):
    """Where an adaptive solve stands. Every number is a scalar, or one a sample under per-sample control."""

    t: Time
    y: State
    k1: State
    h: Time
    error: Time
    accepted: Count
    rejected: Count
    status: Count
    saved: Count
    ys: Any
    watched: Watched
    tape: Tape | None

    @property
    def active(self) -> Array:
        """Which samples have not come to an end."""
        return self.status == _RUNNING

    def solution(self, stats: Stats) -> Solution:
        """What `solve` returns of it."""
        return Solution(self.y, self.ys, stats, self.status, watched=self.watched)


class _Marcher:
    """The loop body of one adaptive solve, with what stays the same during it."""

    def __init__(self, solver: Adaptive, problem: Problem, bounded: bool):
        self.solver, self.problem, self.bounded = solver, problem, bounded
        self.tableau = solver.tableau
        self.dtype = problem.t0.dtype
        self.controller = solver.controller(self.dtype)
        self.lanes = (problem.samples,) if solver.control == "per_sample" else ()
        field = solver.vector_field(problem)
        self.f = lambda t, y: field(t, y, problem.args)
        self.direction = problem.direction
        self.norm = solver.norm(problem)
        limit = jnp.inf if solver.max_step is None else solver.max_step
        self.max_step = jax.lax.stop_gradient(jnp.asarray(limit, self.dtype))

    def start(self, taped: bool) -> March:
        problem, lanes = self.problem, self.lanes
        t = jnp.broadcast_to(problem.t0, lanes)
        y = problem.y0
        k1 = self.f(t, y)
        span = jnp.broadcast_to(problem.t1 - problem.t0, lanes)
        frozen = jax.lax.stop_gradient((t, y, k1, span))
        if self.solver.first_step is None:
            h = initial_step(self.f, *frozen, self.controller, self.solver.error_exponent, self.norm)
        else:
            h = jnp.minimum(jnp.broadcast_to(jnp.asarray(self.solver.first_step, self.dtype), lanes), jnp.abs(span))
        zero = jnp.zeros(lanes, jnp.int32)
        begin = all_finite(y, k1, lanes=lanes)
        status = jnp.where(begin, _RUNNING, int(Status.non_finite)).astype(jnp.int32)
        status = self._refuse(status)
        ts, ys = problem.ts, None
        if ts is not None:
            ys = jax.tree.map(lambda x: jnp.full((len(ts), *x.shape), jnp.nan, x.dtype), y)
        tape = Tape.blank(y, lanes, self.dtype, problem.max_steps) if taped else None
        h = jax.lax.stop_gradient(jnp.minimum(h, self.max_step)) * self.direction
        nothing = jnp.zeros(lanes, self.dtype)
        watched = Watched((nothing,) * len(problem.costs), (Picked(t, y, nothing, zero),) * len(problem.picks))
        return March(t, y, k1, h, nothing + 1, zero, zero, status, zero, ys, watched, tape)

    def _refuse(self, status: Count) -> Count:
        """Numbers that cannot work, where they were not known before the program ran."""
        low = self.controller.rtol < least_rtol(self.problem.precision)
        status = jnp.where(low, int(Status.tolerance), status)
        if self.problem.ts is not None:
            ordered = in_order(self.problem.ts, self.problem.t0, self.problem.t1)
            status = jnp.where(ordered, status, int(Status.unordered_times))
        return status

    def attempt(self, run: March) -> March:
        """Try one step, and take it where its error is small enough."""
        t1 = self.problem.t1
        # Rather stretch a step than leave a sliver.
        reaches = jnp.minimum(1.001 * jnp.abs(run.h), self.max_step) >= jnp.abs(t1 - run.t)
        # The nodes between t0 and t1 count as constants: derivatives see a frozen mesh.
        end = jnp.where(reaches, t1, jax.lax.stop_gradient(run.t + run.h))
        h = end - run.t
        y1, ks = step_with_end(self.tableau, self.f, run.t, run.y, h, run.k1)
        step = Step(self.tableau, self.controller, run.t, h, run.y, y1, ks, self.norm)
        error = jax.lax.stop_gradient(self._error(step))
        take = run.active & (error <= 1)
        tape = None if run.tape is None else run.tape.record(run.accepted, run.t, h, run.y, take)
        saved, ys = self._save(run, take, end, h, ks)
        factor = self.controller.factor(error, run.error, self.solver.error_exponent)
        h_next = jnp.clip(jax.lax.stop_gradient(h) * factor, -self.max_step, self.max_step)
        accepted = jnp.where(take, run.accepted + 1, run.accepted)
        rejected = jnp.where(run.active & ~take, run.rejected + 1, run.rejected)
        status = self._status(run, take, reaches, h_next, error, accepted + rejected)
        return March(
            t=jnp.where(take, end, run.t),
            y=_where(take, y1, run.y),
            k1=_where(take, ks[-1], run.k1),
            h=jnp.where(run.active, h_next, run.h),
            error=jnp.where(take, error, run.error),
            accepted=accepted,
            rejected=rejected,
            status=status,
            saved=saved,
            ys=ys,
            watched=self._watch(run, take, end, step),
            tape=tape,
        )

    def _error(self, step: Step) -> Time:
        """The norm of the step's error, infinite where its end is not finite or the field is not finite there."""
        error, weights = step.error(), self.tableau.error
        assert weights is not None
        if weights[-1] != 0:  # the slope at the end is in the estimate
            return error
        return jnp.where(all_finite(self.problem.measured(step.ks[-1]), lanes=self.lanes), error, jnp.inf)

    def _watch(self, run: March, take, end: Time, step: Step) -> Watched:
        """What is seen of a step that is taken: its costs, and the picks that fall into it."""
        charged = [jnp.where(take, cost(step), jnp.zeros_like(step.h)) for cost in self.problem.costs]
        costs = tuple(old + new for old, new in zip(run.watched.costs, charged, strict=True))
        picks = zip(run.watched.picked, self.problem.picks, strict=True)
        return Watched(costs, tuple(self._pick(run, take, end, step, pick, old) for old, pick in picks))

    def _pick(self, run: March, take, end: Time, step: Step, pick: Pick, old: Picked) -> Picked:
        if pick.at is None:  # step n takes the place of what was picked with probability 1 / (n + 1)
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

    def _status(self, run: March, take, reaches, h_next, error, attempts) -> Count:
        status = jnp.where(attempts >= self.problem.max_steps, int(Status.max_steps), run.status)
        eps = jnp.finfo(self.dtype).eps
        # A step that failed at the floor is not tried again; one that was taken must still get ahead. NaN is stuck.
        floor = jnp.where(take, eps, 10 * eps) * jnp.abs(run.t)
        stuck = ~(jnp.abs(h_next) > floor)
        cause = jnp.where(jnp.isfinite(error), int(Status.step_underflow), int(Status.non_finite))
        status = jnp.where(stuck, cause, status)
        status = jnp.where(take & reaches, int(Status.ok), status)
        return jnp.where(run.active, status, run.status).astype(jnp.int32)

    def _save(self, run: March, take, end: Time, h: Time, ks: list[State]) -> tuple[Count, Any]:
        """Write the dense output at every time of ts that this step has reached."""
        ts = self.problem.ts
        if ts is None:
            return run.saved, None
        count = len(ts)

        def due(saved):
            ahead = (end - ts[jnp.minimum(saved, count - 1)]) * self.direction >= 0
            return take & (saved < count) & ahead

        def write(carry):
            saved, ys = carry
            index, now = jnp.minimum(saved, count - 1), due(saved)
            value = interpolate(self.tableau, run.y, run.t, h, ks, ts[index])
            ys = jax.tree.map(lambda buffer, x: put(buffer, index, _where(now, x, pick(buffer, index))), ys, value)
            return jnp.where(now, saved + 1, saved), ys

        start = (run.saved, run.ys)
        if self.bounded:  # what JAX can reverse has a fixed length
            maybe = lambda _, carry: jax.lax.cond(due(carry[0]).any(), write, lambda c: c, carry)
            return jax.lax.fori_loop(0, count, maybe, start)
        return jax.lax.while_loop(lambda carry: due(carry[0]).any(), write, start)


def _where(take: Array, new: State, old: State) -> State:
    return jax.tree.map(lambda a, b: jnp.where(spread(take, a), a, b), new, old)


def refuse_low_rtol(rtol: Any, dtype) -> None:
    """Refuse a relative tolerance that is known, and that the dtype cannot carry; a traced one is the solve's to check.

    Raises:
        UserError: It is below `least_rtol`.
    """
    least = least_rtol(dtype)
    if not isinstance(rtol, Tracer) and float(rtol) < least:  # an array compared under jit gives a traced bool
        raise UserError(f"rtol={float(rtol):g} is below what {dtype} can carry: use at least {least:.1e}, or float64")


def least_rtol(dtype) -> float:
    """The smallest relative tolerance that makes sense: eight epsilons, so that float32 just carries 1e-6."""
    return 8 * float(jnp.finfo(dtype).eps)

"""Event: ends a solve where a condition changes its sign."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._types import Count, State, Time
from ...errors import UserError
from .problem import Problem
from .solution import Happened
from .spread import spread

_AT_START = -1.0  # in place of a part: the sign changed between the step before and this one
_PARTS = 4  # a step is looked at in as many places, so that two changes of sign within it are rarely missed


class Event(eqx.Module):
    """Ends a solve where a condition changes its sign.

    The time is found on the dense output of the step in which the sign changes, to the last digits. Its derivative, and
    that of the state there, follow from the implicit function theorem. A condition that touches zero without changing
    its sign is no event, and neither is a zero at the start. A step is looked at in four places: a condition that
    changes its sign twice between two of them is missed, so limit the step (`max_step`) where it oscillates.

    Attributes:
        condition: A real function of (t, y, args), written for one sample if `solve` has a `batch_axis`.
        direction: 1: only where it grows through zero; -1: only where it falls; 0: both.
        required: Whether a solve fails, with the status `no_event`, if no event happens.

    Raises:
        UserError: The condition is not a function, or the direction is not -1, 0 or 1.
    """

    condition: Callable[[Any, Any, Any], Any]
    direction: Literal[-1, 0, 1] = eqx.field(static=True, default=0, kw_only=True)
    required: bool = eqx.field(static=True, default=False, kw_only=True)

    def __check_init__(self):
        if not callable(self.condition):
            raise UserError(f"the condition of an event must be a function of (t, y, args), got {self.condition!r}")
        if self.direction not in (-1, 0, 1):
            raise UserError(f"direction must be 1 (growing), -1 (falling) or 0 (both), got {self.direction!r}")

    def crosses(self, before: Array, after: Array) -> Array:
        """Whether the sign changes in the event's direction."""
        grows, falls = (before < 0) & (after >= 0), (before > 0) & (after <= 0)
        return {1: grows, -1: falls, 0: grows | falls}[self.direction]


class Found(NamedTuple):
    """What the search in one step found, one answer for each sample if the problem is batched.

    Attributes:
        now: Whether an event is in this step.
        t: Its time, elapsed; the first one's if there are several.
        index: Its number.
        last: The value of every condition at the end of the step.
    """

    now: Array
    t: Time
    index: Count
    last: tuple[Array, ...]


def check_events(problem: Problem) -> None:
    """Check that every condition has one real value, for each sample.

    Raises:
        UserError: It has not.
    """
    for n, event in enumerate(problem.events):
        condition = problem.on_samples(event.condition)
        time = jnp.zeros(jnp.shape(problem.t0), problem.precision)
        value = jax.eval_shape(lambda t, y, f=condition: f(t, y, problem.args), time, problem.y0)
        if not isinstance(value, jax.ShapeDtypeStruct):
            raise UserError(f"the condition of event {n} must return one number, got {type(value).__name__}")
        lanes = _lanes(problem)
        if not jnp.issubdtype(value.dtype, jnp.floating):
            raise UserError(
                f"the condition of event {n} returns {value.dtype}, which has no sign to change: "
                "return a real number that is zero at the event, y - 1 in place of y > 1"
            )
        if value.shape != lanes:
            one = "one number for each sample" if problem.batched else "one number"
            raise UserError(f"the condition of event {n} must return {one}, got shape {value.shape}")


def _lanes(problem: Problem) -> tuple[int, ...]:
    """The shape of a condition's value: one number, or one for each sample."""
    return (problem.samples,) if problem.batched else ()


def values(problem: Problem, t: Time, y: State, start: Time) -> list[Array]:
    """The value of every condition in a step from `start`."""
    dtype = problem.t0.dtype
    return [
        jnp.asarray(problem.mapped(event.condition, start)(t, y, problem.args)).astype(dtype)
        for event in problem.events
    ]


def nothing_seen(problem: Problem) -> tuple[Array, ...]:
    """The values of the conditions before the first step: NaN, which has no sign."""
    lanes = _lanes(problem)
    return tuple(jnp.full(lanes, jnp.nan, problem.t0.dtype) for _ in problem.events)


def first_event(problem: Problem, at: Callable[[Time], State], t: Time, h: Time, last: tuple[Array, ...]) -> Found:
    """The first event in the step from t of size h, whose dense output is `at`; constant under differentiation.

    `last` are the values at the end of the step before. A condition may change its sign between the two steps: by
    rounding, or because it jumps there. The event is then at the start of this step.
    """
    lanes = _lanes(problem)
    t, h = (jnp.broadcast_to(jax.lax.stop_gradient(x), lanes) for x in (t, h))
    look = lambda part: values(problem, t + part * h, jax.lax.stop_gradient(at(t + part * h)), t)
    seen = [look(jnp.full(lanes, n / _PARTS, h.dtype)) for n in range(_PARTS + 1)]
    nowhere = jnp.full(lanes, jnp.inf, h.dtype)
    parts = []
    for n, event in enumerate(problem.events):
        part = nowhere
        for k in reversed(range(_PARTS)):
            crossed = event.crosses(seen[k][n], seen[k + 1][n])
            part = jnp.where(crossed, k / _PARTS, part)
        parts.append(jnp.where(event.crosses(last[n], seen[0][n]), _AT_START, part))
    now = jnp.isfinite(jnp.stack(parts)).any(axis=0)

    def locate(parts: list[Array]) -> tuple[Array, Array]:
        ends = jnp.stack([_bisected(lambda s, n=n: look(s)[n], part) for n, part in enumerate(parts)])
        index = jnp.argmin(ends, axis=0).astype(jnp.int32)
        return jnp.min(ends, axis=0), index

    missing = (nowhere, jnp.full(lanes, -1, jnp.int32))
    part, index = jax.lax.cond(now.any(), locate, lambda _: missing, parts)
    time = jnp.where(now, t + jnp.where(now, part, 0) * h, t)
    return Found(now, time, jnp.where(now, index, -1), tuple(seen[-1]))


def _bisected(value: Callable[[Array], Array], low: Array) -> Array:
    """The part of the step at which `value` changes its sign in (low, low + 1 / _PARTS]; infinite if low is.

    Zero for `_AT_START`.
    """
    somewhere, at_start = jnp.isfinite(low), low < 0
    low = jnp.where(somewhere & ~at_start, low, jnp.zeros_like(low))
    before = value(low)

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        same = value(middle) * before > 0
        return jnp.where(same, middle, low), jnp.where(same, high, middle)

    halvings = jnp.finfo(low.dtype).nmant + 1
    high = jax.lax.fori_loop(0, halvings, halve, (low, low + 1 / _PARTS))[1]
    return jnp.where(at_start, 0, jnp.where(somewhere, high, jnp.inf))


def none_yet(problem: Problem) -> Happened:
    """No event so far."""
    lanes = _lanes(problem)
    return Happened(jnp.full(lanes, -1, jnp.int32), jnp.broadcast_to(problem.t1, lanes))


def with_derivative(problem: Problem, happened: Happened, y: State) -> tuple[Happened, State]:
    """Time and state of the event with their derivatives, by the implicit function theorem.

    The state y at a constant time t is known with its derivative. From g(t, y) = 0 follows dt = -dg / (dg/dt + dg/dy f)
    at constant t, and the state moves by f dt. If the sign changes because the field's input jumps, dt is that of the
    jump.

    Raises:
        UserError: While a second derivative is traced.
    """
    found = happened.index >= 0
    t = jax.lax.stop_gradient(happened.t)
    there = jax.tree.map(lambda y, y0: jnp.where(spread(found, y), y, y0), y, problem.y0)  # where the field is finite
    slope = problem.vector_field()(t, there, problem.args)

    def condition(t, y, start=None):
        every = values(problem, t, y, t if start is None else start)
        return sum(jnp.where(happened.index == n, value, 0) for n, value in enumerate(every))

    value, rate = jax.jvp(condition, (t, there), (jnp.ones_like(t), slope))
    shift = _quotient(value, jnp.where(rate == 0, jnp.ones_like(rate), rate))
    if problem.jumps is not None:
        jump = problem.clock.jump(problem.jumps, problem.clock.passed(t) - 1)
        across = _jumps_across(problem, condition, t, there, value, rate)
        jump = jnp.where(across, jump, 0)  # an infinite one has no derivative
        shift = jnp.where(across, jump - jax.lax.stop_gradient(jump), shift)
    shift = jnp.where(found, shift, 0)
    moved = jax.tree.map(lambda y, f: _moved(y, spread(jnp.where(found, shift, 0), y), f), y, slope)
    time = jnp.where(found, t + shift, happened.t)
    return Happened(happened.index, time), moved


def _jumps_across(problem: Problem, condition: Any, t: Time, y: State, value: Array, rate: Array) -> Array:
    """Whether the condition jumps at t: its values on both sides differ by more than time's rounding explains."""
    earlier = jnp.nextafter(t, -jnp.inf * jnp.broadcast_to(problem.direction, t.shape))
    before = jax.lax.stop_gradient(condition(t, y, earlier))
    value, rate = jax.lax.stop_gradient((value, rate))
    eps = jnp.finfo(t.dtype).eps
    time = jnp.abs(problem.clock.origin + t)
    rounding = 8 * eps * (time * jnp.abs(rate) + jnp.abs(value))
    return problem.clock.at_jump(t) & (jnp.abs(value - before) > rounding)


@jax.custom_jvp
def _quotient(value: Array, rate: Array) -> Array:
    """Zero, with the derivative -d value / rate."""
    return jnp.zeros_like(value / rate)


@_quotient.defjvp
def _quotient_jvp(primals: Any, tangents: Any) -> Any:
    (value, rate), (d_value, _) = primals, tangents
    return _quotient(value, rate), -d_value / _first_only(rate)


@jax.custom_jvp
def _moved(y: Array, shift: Array, slope: Array) -> Array:
    """y, with the derivative dy + slope d shift."""
    del shift, slope
    return y


@_moved.defjvp
def _moved_jvp(primals: Any, tangents: Any) -> Any:
    (y, shift, slope), (dy, d_shift, _) = primals, tangents
    return _moved(y, shift, slope), dy + _first_only(slope) * d_shift


@jax.custom_jvp
def _first_only(x: Array) -> Array:
    """x, in a first derivative: a second one would lack terms."""
    return x


@_first_only.defjvp
def _refuse_second(primals: Any, tangents: Any) -> Any:
    raise UserError("an event has first derivatives alone: differentiate its time and state once")

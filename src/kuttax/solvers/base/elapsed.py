"""Elapsed time: a solve counts time from its start, so that a late start loses no digits.

float32 has no number between 1.7e9 and 1.7e9 + 128. Therefore times that are known at trace time are subtracted in
float64, and solvers see only the time since t0; the field receives t0 + elapsed.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend.core import Literal
from jaxtyping import Array

from ..._types import VectorField
from ...errors import UserError
from .solution import Status

_ULPS = 4  # times that differ by at most this many units in the last place count as equal
_FEWEST = 10_000  # distinct times between t0 and t1 that a field which depends on time needs


class Elapsed(NamedTuple):
    """The times of a solve, counted from its start.

    Attributes:
        origin: t0, a constant under differentiation; added to an elapsed time before the field sees it.
        t0: Zero, with the derivative of t0.
        t1, ts: The end and the output times, minus `origin`. `ts` is None if there are none.
        saves_start, saves_end: Whether ts is known, at trace time, to begin at t0 and to end at t1.
        ends: t0 and t1 as the user gave them, for messages; None if they are not known.
        late: The larger of them in absolute value, if they are not known.
    """

    origin: Any
    t0: Any
    t1: Any
    ts: Any = None
    saves_start: bool = False
    saves_end: bool = False
    ends: tuple[float, float] | None = None
    late: Any = None


def elapsed(t0: Any, t1: Any, ts: Any, dtype: Any) -> Elapsed:
    """The times of a solve from t0 to t1, counted from t0, in `dtype`.

    Output times that pass t0 or t1 by a few units in the last place, as 0.1 * 3 passes 0.3, are set to it.

    Raises:
        UserError: A time is not finite, not one number, or out of order, or the dtype cannot distinguish t1 from t0.
    """
    t0, t1 = _one("t0", t0), _one("t1", t1)
    if ts is not None:
        ts = _array("ts", ts)
        if ts.ndim != 1 or ts.size == 0:
            raise UserError(f"ts must be a one-dimensional array of at least one time, got shape {ts.shape}")
    if any(isinstance(x, Tracer) for x in (t0, t1, ts)):
        return _traced(t0, t1, ts, dtype)
    return _known(t0, t1, ts, dtype)


def _known(t0: np.ndarray, t1: np.ndarray, ts: np.ndarray | None, dtype: Any) -> Elapsed:
    close = _ULPS * max(_epsilon(x) for x in (t0, t1, ts) if x is not None) * max(abs(float(t0)), abs(float(t1)))
    start, end = float(t0), float(t1)
    cast = lambda x: np.asarray(x, np.float64).astype(dtype)
    with np.errstate(over="ignore", under="ignore"):
        span = cast(end - start)
        if not np.isfinite(span) or abs(span) < (np.finfo(dtype).tiny if start != end else 0):
            raise UserError(f"{dtype} cannot hold the interval from t0={start} to t1={end}: change the unit of time")
    origin = cast(start)
    if ts is None:
        return Elapsed(origin, np.zeros_like(origin), span, ends=(start, end))
    times = ts.astype(np.float64)
    for node in (start, end):
        times = np.where(np.abs(times - node) <= close, node, times)
    gaps = np.diff(np.concatenate([[start], times, [end]]))
    if not (np.all(gaps >= 0) if end >= start else np.all(gaps <= 0)):
        raise UserError(f"{Status.unordered_times.message}, got t0={start}, t1={end}, ts={_short(ts)}")
    saves = bool(gaps[0] == 0), bool(gaps[-1] == 0)
    return Elapsed(origin, np.zeros_like(origin), span, cast(times - start), *saves, (start, end))


def _traced(t0: Any, t1: Any, ts: Any, dtype: Any) -> Elapsed:
    origin = jax.lax.stop_gradient(t0)
    since = lambda x: _minus(x, origin, dtype)
    span = since(t1)
    start = jnp.asarray(origin, dtype)
    late = jax.lax.stop_gradient(jnp.maximum(jnp.abs(start), jnp.abs(start + span)))
    result = Elapsed(start, since(t0), span, late=late)
    if ts is None:
        return result
    times, close = since(ts), _ULPS * jnp.finfo(dtype).eps * jnp.maximum(jnp.abs(span), jnp.abs(result.origin))
    over = (times - span) * jnp.where(span >= 0, 1, -1).astype(dtype)
    return result._replace(ts=jnp.where((over > 0) & (over <= close), span, times))


def _minus(x: Any, origin: Any, dtype: Any) -> Any:
    """x - origin in the wider of their dtypes, then in `dtype`."""
    wide = max((jnp.asarray(t).dtype for t in (x, origin)), key=lambda kind: jnp.finfo(kind).bits)
    return (jnp.asarray(x, wide) - jnp.asarray(origin, wide)).astype(dtype)


class FromOrigin(eqx.Module):
    """A field, a drift or a diffusion as a function of elapsed time.

    Attributes:
        function: A function of (t, y, args).
        origin: The time at which elapsed time is zero.
    """

    function: VectorField
    origin: Any

    def __call__(self, elapsed, y, args):
        return self.function(self.origin + elapsed, y, args)


def refuse_coarse_time(times: Elapsed, functions: Sequence[VectorField], y: Any, args: Any, dtype: Any) -> None:
    """Refuse a field that depends on time if `dtype`, in which it computes, has too few numbers between t0 and t1.

    Raises:
        UserError: The dtype has too few numbers.
    """
    if times.ends is None or times.ends[0] == times.ends[1]:
        return
    span = abs(times.ends[1] - times.ends[0])
    with np.errstate(over="ignore", invalid="ignore"):
        late = np.abs(times.ends).max().astype(dtype)
        numbers = span / float(np.spacing(late)) if np.isfinite(late) else 0.0
    if numbers < _needed(dtype) and _any_depends(times, functions, y, args, dtype):
        raise UserError(
            f"the field depends on t, and {dtype} has only {numbers:.0f} different times between t0={times.ends[0]} "
            f"and t1={times.ends[1]} (at least {_needed(dtype)} are needed): count time from a nearer origin, "
            "or use a finer dtype"
        )


def is_coarse(times: Elapsed, functions: Sequence[VectorField], y: Any, args: Any, dtype: Any) -> Array | None:
    """The condition that `refuse_coarse_time` checks, for times known only at run time; None if they are known."""
    if times.late is None or not _any_depends(times, functions, y, args, dtype):
        return None
    span, spacing = jnp.abs(times.t1 - times.t0), times.late * (float(jnp.finfo(dtype).eps) / 2)
    return (span > 0) & (span < _needed(dtype) * spacing)


def _needed(dtype: Any) -> int:
    """The number of distinct times that a field which depends on time needs."""
    return min(_FEWEST, int(1 / (32 * float(jnp.finfo(dtype).eps))))


def _any_depends(times: Elapsed, functions: Sequence[VectorField], y: Any, args: Any, dtype: Any) -> bool:
    with np.errstate(over="ignore"):
        start = times.origin.astype(dtype)
    return any(depends(lambda t, f=f: f(t, y, args), start) for f in functions)


def _epsilon(time: np.ndarray) -> float:
    return float(jnp.finfo(time.dtype).eps)


def _one(name: str, value: Any) -> Any:
    time = _array(name, value)
    if time.ndim != 0:
        raise UserError(f"{name} must be one number, got shape {time.shape}: every sample shares the interval")
    if not isinstance(time, Tracer) and not np.isfinite(time):
        raise UserError(f"{name} must be finite, got {value!r}")
    return time


def _array(name: str, value: Any) -> Any:
    """`value` as floating-point numbers of its dtype: NumPy if it is known, so that it can be read while tracing."""
    if isinstance(value, Tracer):
        return value if jnp.issubdtype(value.dtype, jnp.floating) else value.astype(jnp.result_type(float))
    try:
        array = np.asarray(value)
        real = array.dtype.kind in "biu" or jnp.issubdtype(array.dtype, jnp.floating)
    except (TypeError, ValueError):  # ragged, or a list that contains tracers
        return _stacked(name, value)
    if not real:
        return _stacked(name, value)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(np.float64)


def _stacked(name: str, value: Any) -> Any:
    """A sequence of numbers, some of them traced."""
    try:
        return jnp.asarray(value, jnp.result_type(float))
    except (TypeError, ValueError):
        raise UserError(f"{name} must be a real number or an array of them, got {value!r}") from None


def _short(ts: np.ndarray) -> str:
    shown = [repr(float(t)) for t in ts]
    return "[" + " ".join(shown if len(shown) <= 6 else [*shown[:2], "...", *shown[-2:]]) + "]"


def depends(function: Callable[[Any], Any], x: Any) -> bool:
    """Whether the result of `function` depends on x, even if only as zero times x."""
    program = jax.make_jaxpr(function)(x).jaxpr
    reached = set(program.invars)
    for equation in program.eqns:
        if any(x in reached for x in equation.invars if not isinstance(x, Literal)):
            reached.update(equation.outvars)
    return any(x in reached for x in program.outvars if not isinstance(x, Literal))

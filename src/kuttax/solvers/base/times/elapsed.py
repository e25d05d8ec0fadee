"""Elapsed time: a solve counts time from its start, so that a late start loses no digits.

float32 has no number between 1.7e9 and 1.7e9 + 128. Therefore times that are known at trace time are subtracted in
float64, and solvers see only the time since t0; the field receives t0 + elapsed (`Clock`).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ....errors import UserError
from ..solution import Status
from .nodes import Nodes, known_nodes

_ULPS = 4  # times that differ by at most this many units in the last place count as equal


class Elapsed(NamedTuple):
    """The times of a solve, counted from its start. Every time is one number, or one for each sample.

    Attributes:
        origin: t0, a constant under differentiation; added to an elapsed time before the field sees it.
        rest: What `origin` lacks of t0, because of its dtype.
        t0: Zero, with the derivative of t0.
        t1: The end, minus `origin`.
        ts: The output times, minus `origin`, (times, *samples); NaN after the end of a row. None if there are none.
        jumps: The times of the jumps, minus `origin`, (jumps, *samples), sorted from t0 on. None if there are none.
        jumps_at: The same in the user's time, constants.
        nodes: Where a solve with a given number of steps must stop, if there are jumps and all times are known.
        saves_start, saves_end: Whether ts is known, at trace time, to begin at t0 and to end at t1.
        ends: t0 and t1 as the user gave them, for messages; None if they are not known.
        late: The larger of them in absolute value, if they are not known.
    """

    origin: Any
    t0: Any
    t1: Any
    ts: Any = None
    jumps: Any = None
    jumps_at: Any = None
    nodes: Nodes | None = None
    saves_start: bool = False
    saves_end: bool = False
    ends: tuple[Any, Any] | None = None
    late: Any = None
    rest: Any = 0.0


def elapsed(t0: Any, t1: Any, ts: Any, dtype: Any, *, jumps: Any = None, samples: int | None = None) -> Elapsed:
    """The times of a solve from t0 to t1, counted from t0, in `dtype`.

    Output times that pass t0 or t1 by a few units in the last place, as 0.1 * 3 passes 0.3, are set to it.

    Args:
        t0, t1: One number, or one for each sample. A t1 of None is the last output time.
        ts: Output times, (times,) or (samples, times); a row may end in NaN.
        dtype: The dtype of elapsed times.
        jumps: Times where the field jumps, (jumps,) or (samples, jumps); a row may end in NaN.
        samples: The number of samples; None if the state has no batch axis.

    Raises:
        UserError: A time is not finite, of a wrong shape, or out of order, or the dtype cannot distinguish t1 from t0.
    """
    ts, jumps = _rows("ts", ts, samples), _rows("jumps", jumps, samples)
    ends_with_ts = t1 is None
    t1 = _last_of(ts) if t1 is None else t1
    t0, t1 = _end("t0", t0, samples), _end("t1", t1, samples)
    if t0.ndim or t1.ndim:
        numpy = not any(isinstance(x, Tracer) for x in (t0, t1, ts, jumps))
        t0, t1, ts, jumps = _one_each(t0, t1, ts, jumps, samples, np if numpy else jnp)
    if any(isinstance(x, Tracer) for x in (t0, t1, ts, jumps)):
        return _traced(t0, t1, ts, jumps, dtype)._replace(saves_end=ends_with_ts)
    return _known(t0, t1, ts, jumps, dtype)


def _known(t0: np.ndarray, t1: np.ndarray, ts: np.ndarray | None, jumps: np.ndarray | None, dtype: Any) -> Elapsed:
    close = _ULPS * max(_epsilon(x) for x in (t0, t1, ts) if x is not None) * np.maximum(np.abs(t0), np.abs(t1))
    start, end = t0.astype(np.float64), t1.astype(np.float64)
    cast = lambda x: np.asarray(x, np.float64).astype(dtype)
    _refuse_span(start, end, dtype)
    zero = np.zeros_like(cast(start))
    rest = cast(start - cast(start).astype(np.float64))
    result = Elapsed(cast(start), zero, cast(end - start), ends=(start, end), rest=rest)
    jumps_at = None
    if jumps is not None:
        jumps_at = _sorted_jumps(jumps.astype(np.float64), start, end)
        result = result._replace(jumps=cast(jumps_at - start), jumps_at=cast(jumps_at))
    times = None
    if ts is not None:
        times = ts.astype(np.float64)
        for node in (start, end):
            times = np.where(np.abs(times - node) <= close, node, times)
        filled = np.where(np.isnan(times), end, times)
        rows = lambda node: np.broadcast_to(node, filled.shape[1:])[None]
        gaps = np.diff(np.concatenate([rows(start), filled, rows(end)]), axis=0)
        if not np.all(np.where(end >= start, gaps >= 0, gaps <= 0)):
            raise UserError(f"{Status.unordered_times.message}, got {_shown(start, end, ts)}")
        saves = bool(np.all(gaps[0] == 0)), bool(np.all(gaps[-1] == 0))
        result = result._replace(ts=cast(times - start), saves_start=saves[0], saves_end=saves[1])
    if jumps_at is None:
        return result
    since = None if times is None else cast(np.where(np.isnan(times), end, times) - start)
    return result._replace(nodes=known_nodes(since, result.jumps, result.t1))


def _traced(t0: Any, t1: Any, ts: Any, jumps: Any, dtype: Any) -> Elapsed:
    origin = jax.lax.stop_gradient(t0)
    since = lambda x: _minus(x, origin, dtype)
    span = since(t1)
    start = jnp.asarray(origin, dtype)
    late = jax.lax.stop_gradient(jnp.maximum(jnp.abs(start), jnp.abs(start + span)))
    result = Elapsed(start, since(t0), span, late=late, rest=_minus(origin, start, dtype))
    rows = lambda x, like: jnp.broadcast_to(x, like.shape)
    way = jnp.where(span >= 0, 1, -1).astype(dtype)
    if jumps is not None:
        ahead = lambda x: jnp.sort(jnp.where(jnp.isnan(x), jnp.inf, x * rows(way, x)), axis=0) * rows(way, x)
        at = jax.lax.stop_gradient(jnp.asarray(jumps, dtype))
        result = result._replace(jumps=ahead(since(jumps)), jumps_at=ahead(at))
    if ts is None:
        return result
    times, close = since(ts), _ULPS * jnp.finfo(dtype).eps * jnp.maximum(jnp.abs(span), jnp.abs(result.origin))
    over = (times - rows(span, times)) * rows(way, times)
    return result._replace(ts=jnp.where((over > 0) & (over <= rows(close, times)), rows(span, times), times))


def _minus(x: Any, origin: Any, dtype: Any) -> Any:
    """x - origin in the wider of their dtypes, then in `dtype`."""
    wide = max((jnp.asarray(t).dtype for t in (x, origin)), key=lambda kind: jnp.finfo(kind).bits)
    x = jnp.asarray(x, wide)
    return (x - jnp.broadcast_to(jnp.asarray(origin, wide), x.shape)).astype(dtype)


def _refuse_span(start: np.ndarray, end: np.ndarray, dtype: Any) -> None:
    """Refuse an interval that is not empty but that `dtype` cannot hold."""
    with np.errstate(over="ignore", under="ignore"):
        span = np.asarray(end - start).astype(dtype)
        lost = ~np.isfinite(span) | (np.abs(span) < np.where(start != end, np.finfo(dtype).tiny, 0))
    if np.any(lost):
        n = int(np.argmax(lost)) if lost.ndim else ()
        raise UserError(
            f"{np.dtype(dtype)} cannot hold the interval from t0={start[n]} to t1={end[n]}: change the unit of time"
        )


def _sorted_jumps(jumps: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The jumps from t0 on, with infinities after the end of a row.

    Raises:
        UserError: They are not sorted.
    """
    late = np.where(np.isnan(jumps), np.inf, jumps)
    with np.errstate(invalid="ignore"):  # two infinities
        forward = np.all(~(np.diff(late, axis=0) < 0))
        backward = np.all(~(np.diff(jumps, axis=0) > 0))
    gaps = np.any(np.isnan(jumps[:-1]) & ~np.isnan(jumps[1:]))
    if gaps or not (forward or backward):
        raise UserError(f"jumps must be sorted, with NaN at the end of a row alone, got {_short(_first_row(jumps))}")
    way = np.where(end >= start, 1.0, -1.0)
    return np.sort(np.where(np.isnan(jumps), np.inf, jumps * way), axis=0) * way


def _one_each(t0: Any, t1: Any, ts: Any, jumps: Any, samples: Any, numpy: Any) -> tuple[Any, Any, Any, Any]:
    """All times with one number for each sample."""
    each = lambda x: numpy.broadcast_to(x, (samples,))
    rows = lambda x: x if x is None or x.ndim == 2 else numpy.broadcast_to(x[:, None], (len(x), samples))
    return each(t0), each(t1), rows(ts), rows(jumps)


def _last_of(ts: Any) -> Any:
    """The last output time, of each sample if samples have their own.

    Raises:
        UserError: There is none.
    """
    if ts is None:
        raise UserError("t1=None means the last output time, and there is none: give t1, or ts")
    if ts.ndim == 1:
        return ts[-1]
    numpy: Any = jnp if isinstance(ts, Tracer) else np
    last = numpy.maximum(numpy.sum(~numpy.isnan(ts), axis=0) - 1, 0)
    return numpy.take_along_axis(ts, last[None], axis=0)[0]


def _epsilon(time: np.ndarray) -> float:
    return float(jnp.finfo(time.dtype).eps)


def _end(name: str, value: Any, samples: int | None) -> Any:
    """t0 or t1: one number, or one for each sample."""
    time = _array(name, value)
    if time.ndim and samples is None:
        raise UserError(
            f"{name} must be one number, got shape {time.shape}: with batch_axis it may have one for each sample"
        )
    if time.ndim and time.shape != (samples,):
        raise UserError(f"{name} must be one number, or one for each of {samples} samples, got shape {time.shape}")
    if not isinstance(time, Tracer) and not np.all(np.isfinite(time)):
        raise UserError(f"{name} must be finite, got {value!r}")
    return time


def _rows(name: str, value: Any, samples: int | None) -> Any:
    """ts or jumps: (times,), or with a column for each sample (times, samples)."""
    if value is None:
        return None
    times = _array(name, value)
    if name == "jumps" and times.ndim in (1, 2) and times.shape[-1] == 0:
        return None  # a field without jumps
    if times.ndim == 2 and samples is None:
        raise UserError(f"{name} has shape {times.shape}: rows of times, one for each sample, need batch_axis")
    if times.ndim not in (1, 2) or times.size == 0:
        raise UserError(f"{name} must be a one-dimensional array of at least one time, got shape {times.shape}")
    if times.ndim == 2 and len(times) != samples:
        raise UserError(f"{name} must have one row for each of {samples} samples, got shape {times.shape}")
    if not isinstance(times, Tracer):
        finite = np.isfinite(times) | (np.isnan(times) if times.ndim == 2 else False)
        if not np.all(finite):
            raise UserError(f"{name} must be finite, got {_short(np.atleast_2d(times)[0])}")
    return times.T


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


def _first_row(times: np.ndarray) -> np.ndarray:
    """The times of one sample, for messages."""
    return times if times.ndim == 1 else times[:, 0]


def _shown(start: np.ndarray, end: np.ndarray, ts: np.ndarray) -> str:
    """The times of a solve, for messages; of the first sample if each has its own."""
    first = lambda x: np.atleast_1d(x)[0]
    return f"t0={first(start)}, t1={first(end)}, ts={_short(_first_row(ts))}"


def _short(ts: np.ndarray) -> str:
    shown = [repr(float(t)) for t in ts]
    return "[" + " ".join(shown if len(shown) <= 6 else [*shown[:2], "...", *shown[-2:]]) + "]"

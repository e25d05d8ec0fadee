"""Coarse time: refuse a field that depends on time if its dtype has too few numbers between t0 and t1."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jax.extend.core.primitives import jit_p
from jaxtyping import Array

from ...._types import VectorField
from ....errors import UserError
from .elapsed import Elapsed

_FEWEST = 10_000  # distinct times between t0 and t1 that a field which depends on time needs


def refuse_coarse_time(times: Elapsed, functions: Sequence[VectorField], y: Any, args: Any, dtype: Any) -> None:
    """Refuse a field that depends on time if `dtype`, in which it computes, has too few numbers between t0 and t1.

    Raises:
        UserError: The dtype has too few numbers.
    """
    if times.ends is None or np.all(times.ends[0] == times.ends[1]):
        return
    t0, t1 = (np.atleast_1d(end) for end in times.ends)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        spacing = np.spacing(np.maximum(np.abs(t0), np.abs(t1)).astype(dtype)).astype(np.float64)
        numbers = np.where(t0 == t1, np.inf, np.abs(t1 - t0) / spacing)
    numbers = np.where(np.isnan(numbers), 0.0, numbers)  # a time that is infinite in the dtype
    n = int(np.argmin(numbers))
    if numbers[n] < _needed(dtype) and _any_depends(times, functions, y, args, dtype):
        raise UserError(
            f"the field depends on t, and {dtype} has only {numbers[n]:.0f} different times between t0={t0[n]} "
            f"and t1={t1[n]} (at least {_needed(dtype)} are needed): count time from a nearer origin, "
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


def depends(function: Callable[[Any], Any], x: Any) -> bool:
    """Whether the result of `function` depends on x, even if only as zero times x."""
    program = jax.make_jaxpr(function)(x).jaxpr
    return any(_reached(program, [True] * len(program.invars)))


def _reached(program: Jaxpr, inputs: Sequence[bool]) -> list[bool]:
    """Which results of a program depend on the marked inputs."""
    marked = {x for x, is_marked in zip(program.invars, inputs, strict=True) if is_marked}
    is_marked = lambda x: not isinstance(x, Literal) and x in marked
    for equation in program.eqns:
        found = [is_marked(x) for x in equation.invars]
        inner = equation.params.get("jaxpr")
        if equation.primitive is jit_p and isinstance(inner, ClosedJaxpr):
            outputs = _reached(inner.jaxpr, found)
        else:
            outputs = [any(found)] * len(equation.outvars)
        marked.update(x for x, depends in zip(equation.outvars, outputs, strict=True) if depends)
    return [is_marked(x) for x in program.outvars]

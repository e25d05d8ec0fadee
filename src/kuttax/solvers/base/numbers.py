"""Number fields of solvers: validated if known, arrays in the program."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ...errors import UserError
from .solver import Refined


def number(
    name: str, least: float | None = None, most: float = np.inf, *, optional: bool = False, each: bool = False
) -> Any:
    """A converter: the number as an array leaf, so that changing it never recompiles; validated if it is known.

    Args:
        name: Its name in errors.
        least: The smallest value; None: it must be above zero.
        most: The largest value.
        optional: Whether None is allowed.
        each: Whether it may be traced numbers, one for each sample.
    """
    allowed = "> 0" if least is None else f">= {least:g}"
    allowed += "" if most == np.inf else f" and <= {most:g}"

    def convert(value: Any) -> Any:
        if (isinstance(value, Tracer) and (value.ndim == 0 or each)) or (optional and value is None):
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


def said(number: Any) -> str:
    """The number with the digits the user gave: float32 turns 0.001 into 0.0010000000475."""
    try:
        return f"{float(number):.6g}"
    except (TypeError, ValueError):  # it is traced, or a label in a tree like the solver
        return str(number)


def refuse_low_rtol(rtol: Any, dtype) -> None:
    """Refuse a known relative tolerance that is too small for the dtype; the solve itself checks a traced one.

    Raises:
        UserError: It is below `least_rtol`.
    """
    least = least_rtol(dtype)
    if not isinstance(rtol, Tracer) and float(rtol) < least:  # an array compared under jit gives a traced bool
        raise UserError(f"rtol={float(rtol):g} is below what {dtype} can carry: use at least {least:.1e}, or float64")


def least_rtol(dtype) -> float:
    """The smallest useful relative tolerance: eight epsilons, so that float32 just allows 1e-6."""
    return 8 * float(jnp.finfo(dtype).eps)


TIGHTER = {2: 10.0, 4: 100.0}
"""The divisors of a tolerance that stand for twice and four times the steps."""


def scaled_tolerances(rtol: Any, atol: Any, new_rtol: float) -> dict[str, float]:
    """`rtol` and `atol` after the relative one becomes `new_rtol` and the absolute one changes by the same factor."""
    return {"rtol": float(new_rtol), "atol": float(atol) * (new_rtol / float(rtol))}


def tightened(solver: Any, factor: float, dtype: Any) -> Refined:
    """`solver` with `rtol` and `atol` divided by the same factor, as far as the dtype carries the relative one."""
    rtol, least = float(solver.rtol), least_rtol(dtype)
    possible = min(factor, rtol / least)
    if possible <= 1:
        return Refined(None, f"rtol={rtol:g} is the least that {dtype} carries")
    note = "" if possible == factor else f"rtol only down to {least:.1e}, the least that {dtype} carries"
    round_ = lambda x: float(f"{x:.6g}")  # 1e-06, not 1.0000000000000002e-06
    rtol, atol = max(round_(rtol / possible), least), round_(float(solver.atol) / possible)
    return Refined(dataclasses.replace(solver, rtol=rtol, atol=atol), note)


def as_list(value: Any) -> list:
    """An array as nested lists of floats, in full precision."""
    return np.asarray(value, np.float64).tolist()


def parameter_dtype(dtype: Any) -> np.dtype:
    """The dtype of free parameters that a user asks for; None for JAX's default.

    Raises:
        UserError: It is not a floating-point dtype of 32 bits or more.
    """
    try:
        found = jax.dtypes.canonicalize_dtype(np.float64) if dtype is None else floating(dtype)
    except (TypeError, ValueError):
        found = None
    if found is None or found.itemsize < 4:
        raise UserError(f"dtype must be jnp.float32 or jnp.float64, got {dtype!r}")
    return found


def floating(name: Any) -> np.dtype:
    """The floating-point dtype with this name, or of this type.

    Raises:
        ValueError: It is not a floating-point dtype.
    """
    dtype = np.dtype(name)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"a dtype of {name}, which is not a floating-point one")
    return dtype

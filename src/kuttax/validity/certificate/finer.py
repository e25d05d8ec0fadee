"""Finer: the same solver with smaller steps."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ...errors import UserError
from ...solvers.base.solver import AbstractSolver
from ...solvers.diffrax.ode import FromDiffrax
from ...solvers.rk.adaptive import Adaptive, least_rtol
from ...solvers.rk.fixed import FixedSteps
from ...solvers.rk.learned import LearnedRK
from ...solvers.rk.reversible import Reversible

TOLERANCE_FACTOR = {2: 10.0, 4: 100.0}
"""Where steps follow from a tolerance: what it is divided by in place of twice and four times the steps."""


class Finer(NamedTuple):
    """A solver with smaller steps, and what is to be said of it; None where its dtype allows nothing finer."""

    solver: AbstractSolver | None
    note: str = ""


def finer(solver: AbstractSolver, times: int, dtype: Any) -> Finer:
    """The same scheme with `times` as many steps; with a tolerance, at a tenth (times=2) or a hundredth (4) of it.

    Every row of a table, learned step sizes and coefficients of a step included, is run `times` times at h / `times`.
    A solver of one's own says so itself: its method `finer(times)` returns the solver with smaller steps.

    Args:
        solver: What to refine.
        times: 2 or 4.
        dtype: In which the model computes; it bounds the relative tolerance from below.

    Raises:
        UserError: The solver is of a kind that cannot be refined.
    """
    match solver:
        case FixedSteps():
            return Finer(FixedSteps(solver.tableau, times * solver.steps))
        case LearnedRK():
            return Finer(_learned(solver, times))
        case Reversible():
            return Finer(dataclasses.replace(solver, solver=finer(solver.solver, times, dtype).solver))
        case FromDiffrax(steps=int(steps)):
            return Finer(dataclasses.replace(solver, steps=times * steps))
        case Adaptive() | FromDiffrax():
            return tighter(solver, TOLERANCE_FACTOR[times], dtype)
    own = getattr(solver, "finer", None)
    if own is None:
        raise UserError(
            f"{type(solver).__name__} cannot be refined, so nothing can be certified: give it a method finer(times) "
            "that returns the solver with that many times the steps"
        )
    return Finer(own(times))


def _learned(solver: LearnedRK, times: int) -> LearnedRK:
    """Repeated logits are repeated shares of the interval: each of the new steps gets its row's h / `times` exactly."""
    again = lambda x: jnp.repeat(x, times, axis=0)
    chart = jax.tree.map(again, solver.chart) if solver.rows > 1 else solver.chart
    logits = None if solver.logits is None else again(solver.logits)
    return dataclasses.replace(solver, chart=chart, logits=logits, steps=times * solver.steps)


def tighter(solver: Adaptive | FromDiffrax, factor: float, dtype: Any) -> Finer:
    """Both tolerances divided by the same factor, as far as the dtype carries the relative one."""
    rtol, least = float(solver.rtol), least_rtol(dtype)
    possible = min(factor, rtol / least)
    if possible <= 1:
        return Finer(None, f"rtol={rtol:g} is the least that {dtype} carries")
    note = "" if possible == factor else f"rtol only down to {least:.1e}, the least that {dtype} carries"
    round_ = lambda x: float(f"{x:.6g}")  # 1e-06, not 1.0000000000000002e-06
    rtol, atol = max(round_(rtol / possible), least), round_(float(solver.atol) / possible)
    return Finer(dataclasses.replace(solver, rtol=rtol, atol=atol), note)

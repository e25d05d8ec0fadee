"""distill: a learned solver for one field, one interval and one budget."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from .._solve.fields import check_field
from .._types import VectorField
from ..arrays import as_jax
from ..callbacks import told
from ..errors import UserError
from ..keys import check_key
from ..kinds import check_callable, checked_count
from ..shown import as_html
from ..solvers.base.axes import checked_axes, parted
from ..solvers.base.solver import AbstractSolver, check_solver
from ..solvers.rk.learned import LearnedRK
from . import classical
from .classical import SchemeRow
from .fitting import Plan, fitted
from .frozen import Frozen
from .keep import Keep
from .objectives import ObjectiveKind
from .progress import Progress, Reporter
from .starts import checked_starts, split
from .teacher import HasLook, taught, teacher_of

_LOOKED_AT = 8  # starts, to see whether the field has derivatives


class Distilled(NamedTuple):
    """A solver fitted to a frozen field.

    Attributes:
        solver: The student, marked with its interval.
        own: Its errors on the held-out starts, computed in the state's dtype. These starts also chose when the fit
            stopped.
        table: The same for every classical tableau at (at most) the same number of evaluations, the best first.
        steps: Steps of the optimiser that were evaluated on the held-out starts.
        unreached: The indices of all starts out of reach: the solver's error is not finite, or not smaller than the
            spread of the ends. No explicit step of this size may cross them; draw other starts, or raise the NFE.
    """

    solver: LearnedRK
    own: SchemeRow
    table: tuple[SchemeRow, ...]
    steps: int
    unreached: np.ndarray

    @property
    def error(self) -> float:
        """The root mean square error at the end over all components and the held-out starts within reach."""
        return self.own.rmse

    @property
    def median(self) -> float:
        """The median over the held-out starts of the Euclidean length of the error."""
        return self.own.median

    def __str__(self) -> str:
        rows = (self.own, *self.table)
        lost = any(row.unreached for row in rows)
        count = lambda text: f" {text:>10}" if lost else ""
        lines = [f"{'rmse':>10} {'median':>10}{count('unreached')} {'nfe':>4}  solver"]
        lines += [f"{r.rmse:10.3g} {r.median:10.3g}{count(r.unreached)} {r.nfe:4d}  {r.name}" for r in rows]
        if len(self.unreached):
            lines.append(f"{len(self.unreached)} of all starts are out of reach (`unreached` has their indices)")
        return "\n".join(lines)

    __repr__ = __str__
    _repr_html_ = as_html


@told()
def distill(
    field: VectorField,
    y0: PyTree,
    t0: float,
    t1: float,
    *,
    student: LearnedRK,
    args: Any = None,
    args_axes: Any = None,
    holdout: float = 0.2,
    teacher: AbstractSolver | None = None,
    objective: ObjectiveKind = "end",
    radius: float | None = None,
    max_steps: int | None = None,
    saved: str | Path | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    key: PRNGKeyArray,
) -> Distilled:
    """Fit a learned solver to a frozen field, so that few evaluations give the accuracy of many.

    A teacher in float64 at 1e-8 solves every start. Then Levenberg-Marquardt (up to 200 parameters) or Adam (beyond)
    fits the student to the ends, and the student with the best error on the held-out starts is kept. Teacher and fit
    run in float64 whatever JAX's flag and the dtype of y0. The returned student has its own dtype, and is evaluated in
    that of y0 (docs/distillation.md).

    Args:
        field: `field(t, y, args) -> dy/dt` for one state, any callable that JAX can trace.
        y0: The starts: a pytree of arrays whose leading axis counts them, at least two. Draw them from the states that
            the solver will meet.
        t0, t1: The interval; t1 < t0 goes backwards.
        student: The start of the fit: `kx.student(...)` or `LearnedRK.from_tableau(...)`. A fit that ends behind a
            classical scheme of the student's form begins there again.
        args: Passed to the field.
        args_axes: Which of the args each start has its own of, as for `kx.solve`; None: all starts share them.
        holdout: The share of the starts that the fit does not see.
        teacher: Solves the starts, in float64; None: DOPRI5 at 1e-8. For a stiff field
            `kx.FromDiffrax(diffrax.Kvaerno5(), 1e-8, 1e-8)`.
        objective: What the fit makes small. "end": the error at t1. "local": the error of each step from the teacher's
            state at its beginning, for a student of several steps; few starts then give many errors. "relaxed": the
            error at t1 from starts that may move a little (LD3, Tong et al., ICLR 2025, arXiv 2405.15506). Early
            stopping and the results go by the error at t1.
        radius: Of "relaxed": how far a start may move, as a share of the starts' root mean square; None for 0.02.
        max_steps: Steps of the optimiser in one fit, of two at most; None for 200 (Levenberg-Marquardt) or 3000 (Adam).
        saved: A folder for the teacher's solutions and the state of the fit. The same call goes on from there after a
            stop, and a finished one takes no time again; another student takes the same solutions. Remove it
            afterwards; None for none.
        report: Receives a `Progress` after each part of the teacher's work and after steps of the fit: try `print`.
        key: Draws the held-out starts, and Adam's batches.

    Returns:
        A `Distilled`.

    Raises:
        UserError: Starts, args, interval, share or student are invalid; the field's value is not shaped like the state,
            or its solution is not finite; the student and the classical schemes of its form diverge.
    """
    _check(student, t0, t1, max_steps)
    check_field(field)
    check_key(key)
    check_callable("report", report, "a Progress")
    if teacher is not None:
        check_solver(teacher, "teacher")
    args = as_jax(args)
    plan = Plan.checked(objective, radius, student, max_steps)
    y0 = checked_starts(y0)
    split_key, batch_key = jax.random.split(key)
    number = len(jax.tree.leaves(y0)[0])
    shared, own = parted(args, checked_axes(args_axes, args, number))
    rows, held_rows = split(number, holdout, split_key)
    frozen = Frozen(field, shared, float(t0), float(t1))
    student = student.for_interval(t0, t1)
    one = jax.tree.map(lambda x: x[0], (y0, own))
    eqx.filter_eval_shape(frozen.end, student, *one)  # raises for slopes unlike the state
    teacher, keep = teacher_of(field) if teacher is None else teacher, Keep(saved)
    if isinstance(field, HasLook):
        few, few_own = jax.tree.map(lambda x: x[:_LOOKED_AT], (y0, own))
        axes = jax.tree.map(lambda _: 0, few_own)
        field.look(frozen.t0, few, eqx.combine(shared, few_own), axes)
    numbers = sum(leaf.size for leaf in jax.tree.leaves(y0))
    said, cells = Reporter(report, "teacher"), plan.cells(student, numbers)
    pairs = taught(frozen, y0, teacher, own=own, cells=cells, keep=keep, say=said)
    seen, held = pairs.rows(rows), replace(pairs.rows(held_rows), path=None)
    seed = int(jax.random.randint(batch_key, (), 0, 2**31 - 1))
    best = fitted(frozen, student, seen, held, plan, seed, keep, Reporter(report, "fit"))
    solver = jax.tree.map(lambda x: jnp.asarray(np.asarray(x), student.dtype), best.student)
    lengths = classical.lengths(frozen, solver, pairs)
    row = classical.row_of(solver, lengths[held_rows], held)
    table = classical.table(frozen, held, solver.nfe)
    unreached = np.flatnonzero(~classical.reached(lengths, pairs))
    return Distilled(solver, row, table, best.looks - 1, unreached)


def _check(student: Any, t0: Any, t1: Any, max_steps: Any) -> None:
    if not isinstance(student, AbstractSolver) or not (student.learned and not student.solves_sdes):
        kind = type(student).__name__
        raise UserError(f"a student must be a LearnedRK, got {kind}: kx.student('per_step', nfe=8) makes one")
    if not (np.ndim(t0) == np.ndim(t1) == 0 and math.isfinite(t0) and math.isfinite(t1) and t0 != t1):
        raise UserError(f"t0 and t1 must be two different finite numbers, got {t0!r} and {t1!r}")
    if max_steps is not None:
        checked_count("max_steps", max_steps)

"""Students: learned solvers at a classical start, by what they can learn."""

from typing import Any, Literal, get_args

from ..errors import UserError
from ..kinds import checked_count
from ..solvers.base.numbers import parameter_dtype
from ..solvers.rk import tableaus
from ..solvers.rk.free import Free
from ..solvers.rk.learned import LearnedRK

StudentKind = Literal["per_step", "shared", "anchored", "free"]

STARTS = {1: tableaus.EULER, 2: tableaus.MIDPOINT, 3: tableaus.HEUN3, 4: tableaus.RK4}
"""The starting tableau of a student, by its stages a step."""


def student(
    kind: StudentKind,
    nfe: int,
    *,
    stages: int | None = None,
    order: int | None = None,
    window: int | None = None,
    dtype: Any = None,
) -> LearnedRK:
    """A learned solver with `nfe` evaluations that starts at a classical one.

    Args:
        kind: "per_step": every step has its own coefficients and a learned size. "shared": one set of coefficients,
            learned sizes. "anchored": one step of `nfe` stages, which contains every explicit scheme of that cost
            (non-stationary bespoke solvers, Shaul et al. 2024, arXiv 2403.01329). "free": a sampler. The times of its
            evaluations and the sums of its weights are free too, so it has no order: with smaller steps it does not
            approach the solution, and `certify` refuses it. Its error against the teacher is all that is known of it.
        nfe: Evaluations of the field on the interval.
        stages: Stages of one step, 1 to 4; None for the largest number that divides `nfe`. Not for "anchored", "free".
        order: The order to keep; None for 1, which leaves the most freedom for the step sizes it is fitted on. A higher
            one loses less at others. Not for "free".
        window: Of a "free" student: how many of the last slopes each of its updates has; None for all. Fewer need
            fewer starts.
        dtype: Dtype of the free parameters; None for JAX's default.

    Raises:
        UserError: The kind is unknown, the stages do not divide `nfe`, the order is not possible, or an option is for
            another kind.
    """
    nfe = checked_count("nfe", nfe)
    if kind not in get_args(StudentKind):
        raise UserError(f"unknown kind of student {kind!r}; known: {', '.join(get_args(StudentKind))}")
    if kind != "free" and window is not None:
        raise UserError(f"window is for a free student, and this one is {kind!r}: leave it out")
    if kind in ("anchored", "free"):
        return _one_step(kind, nfe, stages, order, window, dtype)
    stages = stages_of(nfe, stages)
    return LearnedRK.from_tableau(
        STARTS[stages],
        steps := nfe // stages,
        order=1 if order is None else order,
        per_step=kind == "per_step",
        learn_steps=steps > 1,
        dtype=dtype,
    )


def _one_step(
    kind: StudentKind, nfe: int, stages: int | None, order: int | None, window: int | None, dtype: Any
) -> LearnedRK:
    """A student of one step with `nfe` stages."""
    if stages is not None:
        raise UserError(f"a student of kind {kind!r} is one step of {nfe} stages: leave stages out")
    start = tableaus.EULER.compose(nfe) if nfe % 2 else tableaus.MIDPOINT.compose(nfe // 2)
    if kind == "anchored":
        return LearnedRK.from_tableau(start, 1, order=1 if order is None else order, dtype=dtype)
    if order is not None:
        raise UserError(f"a free student has no order, and order={order} asks for one: leave it out")
    dtype = parameter_dtype(dtype)
    return LearnedRK(chart=Free.at(start, window, 1, dtype), logits=None, steps=1, name=start.name)


def stages_of(nfe: int, stages: int | None = None) -> int:
    """The stages of a step for a budget; None chooses the largest of 4, 3, 2, 1 that divides it.

    Raises:
        UserError: No number of stages fits the budget.
    """
    nfe = checked_count("nfe", nfe)
    chosen = next(s for s in (4, 3, 2, 1) if nfe % s == 0) if stages is None else stages
    if chosen not in STARTS or nfe % chosen:
        raise UserError(f"nfe {nfe} is no multiple of {stages} stages (of 1 to 4): change one of them")
    return chosen

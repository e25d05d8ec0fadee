"""Students: learned solvers at a classical start, by what they can learn."""

from typing import Any, Literal, get_args

from ..errors import UserError
from ..solvers.rk import tableaus
from ..solvers.rk.learned import LearnedRK

StudentKind = Literal["per_step", "shared", "anchored"]

STARTS = {1: tableaus.EULER, 2: tableaus.MIDPOINT, 3: tableaus.HEUN3, 4: tableaus.RK4}
"""The starting tableau of a student, by its stages a step."""


def student(kind: StudentKind, nfe: int, *, stages: int | None = None, order: int = 1, dtype: Any = None) -> LearnedRK:
    """A learned solver with `nfe` evaluations that starts at a classical one.

    Args:
        kind: "per_step": every step has its own coefficients and a learned size. "shared": one set of coefficients,
            learned sizes. "anchored": one step of `nfe` stages, which contains every explicit scheme of that cost
            (non-stationary bespoke solvers, Shaul et al. 2024, arXiv 2403.01329).
        nfe: Evaluations of the field on the interval.
        stages: Stages of one step, 1 to 4; None for the largest number that divides `nfe`. Not for "anchored".
        order: The order to keep. 1 leaves the most freedom for the step sizes it is fitted on; a higher one loses less
            at others.
        dtype: Dtype of the free parameters; None for JAX's default.

    Raises:
        UserError: The kind is unknown, the stages do not divide `nfe`, or the order is not possible.
    """
    _check_nfe(nfe)
    if kind not in get_args(StudentKind):
        raise UserError(f"unknown kind of student {kind!r}; known: {', '.join(get_args(StudentKind))}")
    if kind == "anchored":
        if stages is not None:
            raise UserError(f"an anchored student is one step of {nfe} stages: leave stages out")
        start = tableaus.EULER.compose(nfe) if nfe % 2 else tableaus.MIDPOINT.compose(nfe // 2)
        return LearnedRK.from_tableau(start, 1, order=order, dtype=dtype)
    stages = stages_of(nfe, stages)
    steps = nfe // stages
    return LearnedRK.from_tableau(
        STARTS[stages], steps, order=order, per_step=kind == "per_step", learn_steps=steps > 1, dtype=dtype
    )


def stages_of(nfe: int, stages: int | None = None) -> int:
    """The stages of a step for a budget; None chooses the largest of 4, 3, 2, 1 that divides it.

    Raises:
        UserError: No number of stages fits the budget.
    """
    _check_nfe(nfe)
    chosen = next(s for s in (4, 3, 2, 1) if nfe % s == 0) if stages is None else stages
    if chosen not in STARTS or nfe % chosen:
        raise UserError(f"nfe {nfe} is no multiple of {stages} stages (of 1 to 4): change one of them")
    return chosen


def _check_nfe(nfe: int) -> None:
    if isinstance(nfe, bool) or not isinstance(nfe, int) or nfe < 1:
        raise UserError(f"nfe must be a whole number >= 1, got {nfe!r}")

"""Students: learned solvers at a classical start, by what they can learn."""

from typing import Any, Literal, get_args

from ..errors import UserError
from ..kinds import checked_count
from ..solvers.base.numbers import parameter_dtype
from ..solvers.rk import tableaus
from ..solvers.rk.free import Free
from ..solvers.rk.learned import LearnedRK
from ..solvers.rk.tableau import Tableau

StudentKind = Literal["per_step", "shared", "anchored", "free"]

_MERSON = Tableau.explicit(
    "Merson",
    [[], [1 / 3], [1 / 6, 1 / 6], [1 / 8, 0, 3 / 8], [1 / 2, 0, -3 / 2, 2]],
    [1 / 6, 0, 0, 2 / 3, 1 / 6],
    order=4,
)
_FEW = {1: tableaus.EULER, 2: tableaus.MIDPOINT, 3: tableaus.HEUN3, 4: tableaus.RK4, 5: _MERSON}
_LARGEST_PRIME = 13  # stages of one step of an NFE that 2 and 3 do not divide


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
        stages: Stages of one step; None for the largest of 4, 3, 2 that divides `nfe`, else its smallest prime factor
            up to 13, else 1. Not for "anchored", "free".
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
        start_of(stages),
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
    """The stages of a step for a budget; None chooses the largest of 4, 3, 2 that divides it, else its smallest prime
    factor up to 13, because steps of one stage have no coefficients to learn; else 1.

    Raises:
        UserError: The budget is no multiple of the stages.
    """
    nfe = checked_count("nfe", nfe)
    if stages is None:
        return next((s for s in (4, 3, 2, *range(5, _LARGEST_PRIME + 1)) if nfe % s == 0), 1)
    stages = checked_count("stages", stages)
    if nfe % stages:
        raise UserError(f"nfe {nfe} is no multiple of {stages} stages: change one of them")
    return stages


def start_of(stages: int) -> Tableau:
    """A classical scheme of this many stages: a well-known one for up to 5, and steps of RK4 and of Heun's third-order
    method in turn for more."""
    if stages in _FEW:
        return _FEW[stages]
    threes = -stages % 4
    first, *others = [tableaus.RK4] * ((stages - 3 * threes) // 4) + [tableaus.HEUN3] * threes
    return first.then(*others)

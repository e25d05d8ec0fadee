"""Checks of `solve` for what not every solver takes: times of each sample's own, and jumps."""

from collections.abc import Iterator
from typing import Any

from ..adjoints.backsolve import BacksolveAdjoint
from ..errors import UserError
from ..solvers.base.solver import AbstractSolver, Feature, Problem, title

_WORDS: dict[Feature, tuple[str, str]] = {
    "own times": (
        "times of each sample's own",
        "use Adaptive(..., control='per_sample'), FixedSteps or LearnedRK, or give all samples the same times",
    ),
    "jumps": ("jumps", "use Adaptive, FixedSteps, LearnedRK or FromDiffrax, or solve from jump to jump"),
}


def check_features(problem: Problem, solver: AbstractSolver, adjoint: Any) -> None:
    """Check that solver and adjoint take the times of the problem.

    Raises:
        UserError: They do not.
    """
    for feature in _needed(problem):
        what, mend = _WORDS[feature]
        if feature not in solver.takes():
            raise UserError(f"{title(solver)} does not take {what}: {mend}")
        if isinstance(adjoint, BacksolveAdjoint):
            raise UserError(f"BacksolveAdjoint does not take {what}: use DiscreteAdjoint, or leave adjoint out")


def _needed(problem: Problem) -> Iterator[Feature]:
    if problem.own_times:
        yield "own times"
    if problem.jumps is not None:
        yield "jumps"

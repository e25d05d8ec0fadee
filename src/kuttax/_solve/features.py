"""Checks of `solve` for what not every solver takes: own times of samples, jumps, events and dense output."""

from collections.abc import Iterator
from typing import Any

from ..adjoints.backsolve import BacksolveAdjoint
from ..errors import UserError
from ..solvers.base.problem import Problem
from ..solvers.base.solver import AbstractSolver, Feature, title

_WORDS: dict[Feature, tuple[str, str]] = {
    "own times": (
        "times of each sample's own",
        "use Adaptive(..., control='per_sample'), FixedSteps or LearnedRK, or give all samples the same times",
    ),
    "events": ("events", "use Adaptive, FixedSteps, LearnedRK or FromDiffrax with tolerances"),
    "dense": ("dense output", "use Adaptive, FixedSteps, LearnedRK or FromDiffrax, or give ts"),
    "jumps": ("jumps", "use Adaptive, FixedSteps, LearnedRK or FromDiffrax, or solve from jump to jump"),
}


def check_features(problem: Problem, solver: AbstractSolver, adjoint: Any, penalty: Any) -> None:
    """Check that solver, adjoint and penalty take what the problem asks for.

    Raises:
        UserError: They do not.
    """
    for feature in _needed(problem):
        what, mend = _WORDS[feature]
        if feature not in solver.takes():
            raise UserError(f"{title(solver)} does not take {what}: {mend}")
        if isinstance(adjoint, BacksolveAdjoint):
            raise UserError(f"BacksolveAdjoint does not take {what}: use DiscreteAdjoint, or leave adjoint out")
    if problem.events and penalty is not None:
        raise UserError("a penalty is over the whole interval, which an event ends early: leave one of them out")


def _needed(problem: Problem) -> Iterator[Feature]:
    if problem.own_times:
        yield "own times"
    if problem.jumps is not None:
        yield "jumps"
    if problem.events:
        yield "events"
    if problem.dense:
        yield "dense"

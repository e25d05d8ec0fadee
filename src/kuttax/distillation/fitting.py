"""Fitting: the method that suits a student and its starts, in float64."""

import math
from dataclasses import dataclass, replace
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import UserError
from ..solvers.base.solver import title
from ..solvers.rk.learned import LearnedRK
from . import gradient, least_squares, regression
from .beginning import best_classical
from .best import BestStudent
from .frozen import Frozen
from .keep import Keep
from .objectives import AbstractObjective, EndPoint, Local, ObjectiveKind, Relaxed, crossed
from .precision import cast, double_precision
from .progress import Reporter
from .starts import Pairs

RADIUS = 0.02
"""The radius of "relaxed" that is not given."""

_LEAST_CELLS, _CELLS = 32, 8  # of a path; for each step, so that a cubic is more accurate than the step


@dataclass(frozen=True)
class Plan:
    """What a fit makes small, and for how long.

    Attributes:
        objective: Its name.
        radius: Of "relaxed": how far a start may move, as a share of the starts' root mean square.
        max_steps: Steps of the optimiser; None for the method's own number.
    """

    objective: ObjectiveKind
    radius: float
    max_steps: int | None

    @classmethod
    def checked(
        cls, objective: ObjectiveKind, radius: float | None, student: LearnedRK, max_steps: int | None = None
    ) -> "Plan":
        """The plan.

        Raises:
            UserError: The objective is unknown or not for this student, or the radius is invalid.
        """
        if objective not in get_args(ObjectiveKind):
            raise UserError(f"unknown objective {objective!r}; known: {', '.join(get_args(ObjectiveKind))}")
        if objective == "local" and (student.steps < 2 or not student.consistent):
            raise UserError(
                "the objective 'local' compares each step with the teacher, and this student has one step: "
                "take kx.student('per_step', ...) or 'shared' with fewer stages a step, or the objective 'end'"
            )
        if radius is not None and objective != "relaxed":
            raise UserError(f"radius is for the objective 'relaxed', and this one is {objective!r}: leave it out")
        radius = RADIUS if radius is None else radius
        if isinstance(radius, bool) or not isinstance(radius, int | float) or not 0 < radius < math.inf:
            raise UserError(f"radius must be a positive number, got {radius!r}: 0.02 is a fiftieth of the starts' size")
        return cls(objective, float(radius), max_steps)

    def cells(self, student: LearnedRK, numbers: int) -> int:
        """The number of equal parts of the teacher's paths that the fit needs, for so many numbers in all starts; 0 for
        no paths."""
        if self.objective == "local":
            return max(_LEAST_CELLS, _CELLS * student.steps)
        return regression.cells(student, numbers)

    def errors_of(self, frozen: Frozen, seen: Pairs) -> AbstractObjective:
        """The objective on these pairs."""
        most = jnp.asarray(np.float64(seen.spread))
        if self.objective == "relaxed":
            return Relaxed(frozen, most, jnp.asarray(np.float64(self.radius * seen.length)))
        return (Local if self.objective == "local" else EndPoint)(frozen, most)


def fitted(
    frozen: Frozen, student: LearnedRK, seen: Pairs, held: Pairs, plan: Plan, seed: int, keep: Keep, say: Reporter
) -> BestStudent:
    """The student with the best error at the end on the pairs `held`, no worse than a classical scheme of its form.

    Raises:
        UserError: The student diverges where it begins, and so does the best classical scheme of its form.
    """
    frozen, student, seen, held = cast((frozen, student, seen, held), np.float64)
    with double_precision():
        objective = plan.errors_of(frozen, seen)
        least, rival = best_classical(EndPoint(frozen, objective.most), student, held)
        if not student.consistent:
            student, seen = regression.regressed(objective, student, seen), replace(seen, path=None)
        if not crossed(frozen, student, held).any():
            if rival is None or not crossed(frozen, rival, held).any():
                raise UserError(
                    f"the student diverges on the held-out starts from where it begins ({title(student)}): "
                    "give it more evaluations, or a shorter interval"
                )
            student = rival
        fit = lambda begin: _fit(objective, begin, seen, held, plan, seed, keep, say)
        best = fit(student)
        if rival is not None and least < best.error:
            first, best = best, fit(replace(rival, name=student.name))  # one name, so that nothing compiles again
            best.student, best.looks = replace(best.student, name=rival.name), best.looks + first.looks - 1
        best.student = best.student.canonical()
    return best


def _fit(
    objective: AbstractObjective,
    student: LearnedRK,
    seen: Pairs,
    held: Pairs,
    plan: Plan,
    seed: int,
    keep: Keep,
    say: Reporter,
) -> BestStudent:
    """The best student of one fit, by the method that suits."""
    stored = keep.stored("fit", (plan, seed, student, seen, held))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(student))
    if least_squares.suits(parameters, seen.number * objective.size(student, seen)):
        steps = least_squares.MOST_STEPS if plan.max_steps is None else plan.max_steps
        return least_squares.levenberg_marquardt(objective, student, seen, held, steps, stored, say)
    steps = gradient.MOST_STEPS if plan.max_steps is None else plan.max_steps
    return gradient.adam(objective, student, seen, held, steps, seed, stored, say)

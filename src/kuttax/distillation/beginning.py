"""Beginning: the classical schemes that a student's form contains. A fit that ends behind one begins there again."""

from collections.abc import Iterator
from dataclasses import replace

import jax

from ..errors import UserError
from ..solvers.rk.learned import LearnedRK
from ..solvers.rk.tableaus import ALL
from .objectives import AbstractObjective, rmse
from .starts import Pairs


def best_classical(objective: AbstractObjective, student: LearnedRK, pairs: Pairs) -> tuple[float, LearnedRK | None]:
    """The smallest error of the classical schemes of the student's form on these pairs, and the student at that scheme;
    infinity and None for a sampler, whose form has no order."""
    errors = [(float(rmse(objective, replace(one, name=student.name), pairs)), one) for one in _classical(student)]
    return min(errors, key=lambda found: found[0], default=(float("inf"), None))


def _classical(student: LearnedRK) -> Iterator[LearnedRK]:
    """The student at each classical scheme of as many stages or fewer, as many steps of it as fit into one."""
    for tableau in ALL.values():
        times = student.stages // tableau.stages
        if times and student.consistent and tableau.order >= student.order:
            try:
                scheme = LearnedRK.from_tableau(
                    tableau.compose(times),
                    student.steps,
                    order=student.order,
                    stages=student.stages,
                    per_step=student.rows == student.steps,
                    learn_steps=student.logits is not None,
                    trained_for=student.trained_for,
                    dtype=student.dtype,
                )
            except UserError:  # its form does not contain this one
                continue
            if jax.tree.structure(replace(scheme, name=student.name)) == jax.tree.structure(student):
                yield scheme

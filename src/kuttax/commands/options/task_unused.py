"""Which options of a task change nothing beside those of a command."""

from collections.abc import Iterable

from ...options.unused import Unused, unless
from ...solvers.base.solver import AbstractSolver
from ...tasks.options import TaskOptions


def unused_in_task(options: TaskOptions, solvers: Iterable[AbstractSolver], *, penalised: bool) -> dict[str, Unused]:
    """The options that the task would use with another solver or penalty.

    Args:
        options: Of the task.
        solvers: That it is trained with. An ODE is solved once more by an adaptive one, an SDE is not.
        penalised: Whether it is trained with a penalty.
    """
    adaptive = options.calculus is None or any(solver.chooses_steps for solver in solvers)
    return {
        **unless(adaptive, ["max_steps"], "with solvers of fixed steps", "name spark"),
        **unless(penalised, ["penalised"], "without a penalty", "add one"),
    }

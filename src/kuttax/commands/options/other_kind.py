"""Refuses a solver of ODEs for an SDE, and the other way round."""

from typing import Any

from ...errors import UserError
from ...solvers.base.solver import AbstractSolver, title
from ...solvers.registry import fitting
from ...tasks.abilities import calculus_of

_WORDS = {"ito": "Ito", "stratonovich": "Stratonovich"}


def refuse_other_kind(task: str, about: Any, solver: AbstractSolver) -> None:
    """Refuse a solver that does not fit a task, before data are loaded.

    Args:
        task: Its name.
        about: The task or its options: its `calculus` is set for an SDE.
        solver: The solver to check.

    Raises:
        UserError: One of the two is for an ODE and the other for an SDE, or their calculi differ.
    """
    calculus, own = calculus_of(about), solver.sde_calculi()
    if calculus is None and own:
        raise UserError(f"{title(solver)} is for SDEs, and {task} is an ODE: use learned, rk4, dopri5 or tsit5")
    if calculus is None or calculus in own:
        return
    use = ", ".join(fitting(calculus))
    if not own:
        raise UserError(f"{title(solver)} is for ODEs, and {task} is an SDE: use {use}")
    raise UserError(
        f"{title(solver)} is for {_WORDS[own[0]]} SDEs, and {task} is read as {_WORDS[calculus]}: use {use}, or train "
        f"it with --calculus {own[0]}"
    )

"""Budget: the solver that training starts with, for a given number of evaluations."""

from typing import Any

from ..distillation.students import stages_of, start_of
from ..errors import UserError
from ..solvers.base.grid import AbstractGridSolver
from ..solvers.base.solver import AbstractSolver, Calculus
from ..solvers.rk.fixed import FixedSteps
from ..solvers.rk.learned import LearnedRK
from ..solvers.sde.euler_maruyama import EulerMaruyama
from ..solvers.sde.learned_srk import LearnedSRK
from ..solvers.sde.milstein import Milstein
from ..solvers.sde.srk import SRK
from ..solvers.sde.stochastic_heun import StochasticHeun


def solver_of(
    nfe: int, stages: int | None = None, *, learned: bool = True, calculus: Calculus | None = None
) -> AbstractGridSolver:
    """The solver with `nfe` evaluations of the field, or of an SDE's drift with diagonal noise.

    Args:
        nfe: The budget.
        stages: Evaluations in one step; None: as `stages_of` chooses.
        learned: Whether the solver is a learned one; there is none for Stratonovich SDEs.
        calculus: The calculus of an SDE; None for an ODE.

    Raises:
        UserError: No solver has this budget.
    """
    if calculus is not None:
        return _of_sde(nfe, stages, calculus, learned=learned)
    stages = stages_of(nfe, stages)
    classical = FixedSteps(start_of(stages), nfe // stages)
    started: Any = learning(classical) if learned else classical
    return started


def learning(solver: AbstractSolver) -> AbstractSolver | None:
    """The learned solver that starts at this one and learns coefficients and step sizes, at order 2 if possible.

    A learned solver is returned unchanged. None: no learned solver starts there.
    """
    if solver.learned:
        return solver
    tableau = solver.classical_tableau()
    if tableau is None:
        return None
    steps, order = solver.number_of_steps(), min(2, tableau.stages)
    return LearnedRK.from_tableau(tableau, steps, order=order, per_step=True, learn_steps=steps > 1)


def _of_sde(nfe: int, stages: int | None, calculus: Calculus, *, learned: bool) -> AbstractGridSolver:
    ito = [*([LearnedSRK.from_tableau(steps=1)] if learned else []), SRK(1), EulerMaruyama(1)]
    kinds = ito if calculus == "ito" else [StochasticHeun(1), Milstein(1)]
    known = {kind.evaluations("diagonal")[0]: kind for kind in kinds}
    for count, kind in known.items():
        if nfe >= 1 and nfe % count == 0 and stages in (None, count):
            return kind.with_steps(nfe // count)
    steps = " or ".join(str(count) for count in sorted(known))
    raise UserError(f"nfe must be a multiple of the stages of a step, for this SDE {steps}; got {nfe} with {stages}")

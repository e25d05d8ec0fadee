"""ComparedMethod: a row of a comparison, and the possible rows."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ...distillation.students import stages_of
from ...errors import UserError
from ...solvers import registry as sde_solvers
from ...solvers.base.solver import AbstractSolver, title
from ...solvers.rk import tableaus
from ...solvers.rk.adaptive.adaptive import Adaptive
from ...solvers.rk.fixed import FixedSteps
from ...solvers.sde.sde import Calculus
from .penalty import PENALTIES, Weighted, default
from .solver import LearnedOptions, SolverOptions

_CLASSICAL = {"rk4": tableaus.RK4, "midpoint": tableaus.MIDPOINT}
SOLVERS = ("dopri5", *_CLASSICAL, "learned")
"""The names of the solvers to compare."""


class ComparedMethod(NamedTuple):
    """The solver and penalty of one row of a comparison.

    Attributes:
        name: The name of the solver.
        label: The label of the row.
        budget: Evaluations of the field in one solve; None for an adaptive solver.
        solver: The solver for training and prediction.
        penalty: Added to the loss.
    """

    name: str
    label: str
    budget: int | None
    solver: AbstractSolver
    penalty: Weighted


def solvers(
    names: Sequence[str],
    budgets: Sequence[int],
    learned: LearnedOptions,
    penalty: Weighted,
    say: Callable[[str], None],
) -> Iterator[ComparedMethod]:
    """The rows that compare solvers, each trained with `penalty`; `say` reports the rows left out.

    Raises:
        UserError: A name or budget is invalid, the learned solvers are not possible, or the penalty does not fit one.
    """
    _check(names, SOLVERS, budgets)
    for name, label, budget, solver in _solvers(names, budgets, learned, say):
        penalty.refuse_unfit(solver)
        yield ComparedMethod(name, penalty.beside(label), budget, solver, penalty)


def solvers_of_sdes(
    calculus: Calculus,
    names: Sequence[str] | None,
    budgets: Sequence[int],
    options: SolverOptions,
    penalty: Weighted,
    say: Callable[[str], None],
) -> Iterator[ComparedMethod]:
    """The rows that compare solvers of SDEs with diagonal noise; budgets are evaluations of the drift.

    Args:
        calculus: The calculus of the SDE.
        names: Names of the solvers; None for all of that calculus.
        budgets: Budgets of the solvers with a fixed grid.
        options: Tolerances of the adaptive ones, and whether coefficients are shared.
        penalty: The penalty that each is trained with.
        say: Reports the rows left out.

    Raises:
        UserError: A name or budget is invalid, or the penalty does not fit one.
    """
    known = sde_solvers.fitting(calculus)
    _check(known if names is None else names, known, budgets, f"of {calculus} SDEs")
    for name in known if names is None else names:
        if name in sde_solvers.ADAPTIVE:
            solver = sde_solvers.adaptive(name, options.rtol, options.atol)
            penalty.refuse_unfit(solver)
            yield ComparedMethod(name, penalty.beside(title(solver)), None, solver, penalty)
            continue
        for budget in dict.fromkeys(budgets):
            drifts = sde_solvers.fixed(name, 1).evaluations_per_interval() or 1
            if budget % drifts:
                say(f"NFE {budget}: left out {name}, which evaluates the drift {drifts} times a step")
                continue
            solver = sde_solvers.fixed(name, budget // drifts, shared=options.shared)
            penalty.refuse_unfit(solver)
            yield ComparedMethod(name, penalty.beside(f"{name}, {_count(solver.steps)}"), budget, solver, penalty)


def _check(names: Sequence[str], known: Sequence[str], budgets: Sequence[int], of: str = "") -> None:
    """Refuse unknown names, and invalid budgets."""
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(f"unknown method {unknown[0]!r}; known{f' {of}' if of else ''}: {', '.join(known)}")
    if not budgets or min(budgets) < 1:
        raise UserError(f"--nfe must be budgets >= 1, got {' '.join(map(str, budgets)) or 'none'}")


def _solvers(
    names: Sequence[str], budgets: Sequence[int], learned: LearnedOptions, say: Callable[[str], None]
) -> Iterator[tuple[str, str, int | None, AbstractSolver]]:
    """Name, label, budget and solver."""
    if "dopri5" in names:
        yield "dopri5", "DOPRI5 at 1e-5", None, Adaptive(tableaus.DOPRI5, 1e-5, 1e-5)
    for budget in dict.fromkeys(budgets):
        for name, scheme in _CLASSICAL.items():
            if name not in names:
                continue
            if budget % scheme.stages:
                say(f"NFE {budget}: left out {scheme.name}, which takes {scheme.stages} a step")
                continue
            steps = budget // scheme.stages
            yield name, f"{scheme.name}, {_count(steps)}", budget, FixedSteps(scheme, steps)
        if "learned" in names:
            stages = _stages(budget, learned.stages)
            steps = budget // stages
            yield "learned", f"learned, {_count(steps)} of {stages} stages", budget, learned.learned(stages, steps)


def _stages(budget: int, asked: int | None) -> int:
    """The stages of the learned solver, in the words of the command line if they do not fit."""
    if asked is not None and budget % asked:
        raise UserError(f"--nfe {budget} is no multiple of --stages {asked}: change one of them")
    return stages_of(budget, asked)


def _count(steps: int) -> str:
    return "1 step" if steps == 1 else f"{steps} steps"


def penalties(names: Sequence[str], options: SolverOptions, say: Callable[[str], None]) -> Iterator[ComparedMethod]:
    """The rows that compare penalties with one solver; the row without a penalty is first.

    "all" means all penalties that fit the solver; `say` reports the ones left out.

    Raises:
        UserError: A name is unknown, or a named penalty does not fit the solver.
    """
    if not {*names} - {"none"}:
        raise UserError(f"--penalties needs names: all, or some of {', '.join(PENALTIES)}")
    solver = options.build()
    budget = None if solver.solves_sdes else solver.evaluations_per_interval()
    for name in dict.fromkeys(["none", *names, *(PENALTIES if "all" in names else ())]):
        if name == "all":
            continue
        penalty = default(name)
        try:
            penalty.refuse_unfit(solver)
        except UserError as error:
            if name in names:
                raise
            say(f"left out {name}: {error}")
            continue
        yield ComparedMethod(options.solver, penalty.label, budget, solver, penalty)

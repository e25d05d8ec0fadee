"""The solvers of SDEs that the command line knows by name, and which of them a task can be solved with."""

from collections.abc import Callable
from typing import Any

from ...errors import UserError
from ...solvers.base.solver import AbstractSolver, title
from ...solvers.diffrax.ode import FromDiffrax
from ...solvers.diffrax.sde import NAMED
from ...solvers.sde.euler_maruyama import EulerMaruyama
from ...solvers.sde.fixed_sde import AbstractSDESolver
from ...solvers.sde.learned_srk import LearnedSRK
from ...solvers.sde.milstein import Milstein
from ...solvers.sde.sde import Calculus
from ...solvers.sde.srk import SRK
from ...solvers.sde.stochastic_heun import StochasticHeun
from ...tasks.abilities import calculus_of

FIXED: dict[str, Callable[[int], AbstractSDESolver]] = {
    "euler-maruyama": EulerMaruyama,
    "milstein": Milstein,
    "stochastic-heun": StochasticHeun,
    "srk": SRK,
    "learned-srk": lambda steps: LearnedSRK.from_tableau(steps=steps),
}
"""Name -> solver of so many steps."""

ADAPTIVE = tuple(NAMED)
"""diffrax's, which choose their steps by a tolerance."""

NAMES = (*ADAPTIVE, *FIXED)
"""All of them."""

_WORDS = {"ito": "Ito", "stratonovich": "Stratonovich"}


def adaptive(name: str, rtol: float, atol: float) -> FromDiffrax:
    """The one of `ADAPTIVE` of that name."""
    return FromDiffrax(NAMED[name](), rtol, atol)


def fixed(name: str, steps: int, *, shared: bool = False) -> AbstractSDESolver:
    """The one of `FIXED` of that name; `shared` coefficients for all steps of a learned one, else own for each."""
    if name == "learned-srk" and not shared:
        return LearnedSRK.from_tableau(steps=steps, per_step=True)
    return FIXED[name](steps)


def fitting(calculus: Calculus) -> tuple[str, ...]:
    """The names of those for SDEs with diagonal noise of this calculus."""
    return tuple(name for name in ("spark", *FIXED) if calculus in _example(name).sde_calculi())


def refuse_other_kind(task: str, about: Any, solver: AbstractSolver) -> None:
    """Refuse a solver that a task cannot be solved with, before data are loaded.

    Args:
        task: Its name.
        about: The task or its options: its `calculus` says that it is an SDE, and how it is read.
        solver: What is to solve it.

    Raises:
        UserError: One of the two is an ODE's and the other one an SDE's, or they are of different calculi.
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


def _example(name: str) -> AbstractSolver:
    return adaptive(name, 1e-2, 1e-2) if name in ADAPTIVE else FIXED[name](1)

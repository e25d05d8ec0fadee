"""The SDE solvers by name, one entry for each.

Explicit Runge-Kutta methods need no entry: every tableau of `rk/tableaus.py` is known by its name.
"""

from collections.abc import Callable
from typing import NamedTuple

from ..options.look import Look
from .base.grid import AbstractGridSolver
from .base.solver import AbstractSolver, Calculus
from .diffrax.ode import FromDiffrax
from .diffrax.sde import NAMED
from .sde.euler_maruyama import EulerMaruyama
from .sde.learned_srk import LearnedSRK
from .sde.milstein import Milstein
from .sde.platen import Platen
from .sde.srk import SRK
from .sde.stochastic_heun import StochasticHeun


class NamedSDESolver(NamedTuple):
    """The registry entry of an SDE solver, for the command line, reports and error messages.

    Attributes:
        label: Its name in tables.
        make: Builds it with a number of steps.
        look: Its look in plots.
        source: Its paper or book.
    """

    label: str
    make: Callable[[int], AbstractGridSolver]
    look: Look
    source: str


FIXED: dict[str, NamedSDESolver] = {
    "euler-maruyama": NamedSDESolver("Euler-Maruyama", EulerMaruyama, Look("orange", "v"), "Maruyama 1955"),
    "milstein": NamedSDESolver("Milstein", Milstein, Look("sky", "P"), "Milstein 1974"),
    "platen": NamedSDESolver("Platen", Platen, Look("pink", "X"), "Kloeden & Platen 1992"),
    "stochastic-heun": NamedSDESolver("stochastic Heun", StochasticHeun, Look("green", "^"), "Kloeden & Platen 1992"),
    "srk": NamedSDESolver("SRK", SRK, Look("blue", "s"), "Rößler 2010"),
    "learned-srk": NamedSDESolver(
        "learned SRK", lambda steps: LearnedSRK.from_tableau(steps=steps), Look("vermilion", "o"), "after Rößler 2010"
    ),
}
"""The solvers with a number of steps, by name."""

ADAPTIVE = tuple(NAMED)
"""The names of diffrax's solvers, which choose their steps by a tolerance."""

NAMES = (*ADAPTIVE, *FIXED)
"""All names."""


def adaptive(name: str, rtol: float, atol: float) -> FromDiffrax:
    """The solver of `ADAPTIVE` with this name, at these tolerances."""
    return FromDiffrax(NAMED[name](), rtol, atol)


def fixed(name: str, steps: int, *, shared: bool = False) -> AbstractGridSolver:
    """The solver of `FIXED` with this name. `shared`: all steps of a learned solver share one set of coefficients."""
    if name == "learned-srk" and not shared:
        return LearnedSRK.from_tableau(steps=steps, per_step=True)
    return FIXED[name].make(steps)


def fitting(calculus: Calculus) -> tuple[str, ...]:
    """The names of the solvers for SDEs with diagonal noise of this calculus."""
    spark = adaptive("spark", 1e-2, 1e-2)
    examples: dict[str, AbstractSolver] = {"spark": spark, **{n: e.make(1) for n, e in FIXED.items()}}
    return tuple(name for name, example in examples.items() if calculus in example.sde_calculi())

"""How to integrate: solvers, tableaus, solutions and files of solvers. No networks, data or training."""

from . import registry
from .base.event import Event
from .base.fixed_step import AbstractFixedStepSolver
from .base.pick import Picked
from .base.problem import Problem
from .base.registry import register_solver
from .base.solution import Solution, SolveError, Stats, Status, raise_for_status
from .base.solver import AbstractSolver, Refined, Scale
from .diffrax.ode import FromDiffrax
from .diffrax.table import to_diffrax
from .registry import *  # noqa: F403  # its __all__ names the SDE solvers
from .rk import export, order, tableaus
from .rk.adaptive.adaptive import Adaptive
from .rk.fixed import FixedSteps
from .rk.learned import LearnedRK, OffGridWarning
from .rk.reversible import Reversible
from .rk.tableau import Tableau
from .serialise import load, save
from .trainable import labels, trainable

__all__ = [
    "AbstractFixedStepSolver",
    "AbstractSolver",
    "Adaptive",
    "Event",
    "FixedSteps",
    "FromDiffrax",
    "LearnedRK",
    "OffGridWarning",
    "Picked",
    "Problem",
    "Refined",
    "Reversible",
    "Scale",
    "Solution",
    "SolveError",
    "Stats",
    "Status",
    "Tableau",
    "export",
    "labels",
    "load",
    "order",
    "raise_for_status",
    "register_solver",
    "save",
    "tableaus",
    "to_diffrax",
    "trainable",
]
__all__ += registry.__all__

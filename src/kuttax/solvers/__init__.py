"""How to integrate: solvers, tableaus, solutions and files of solvers. No networks, data or training."""

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .base.event import Event as Event
    from .base.fixed_step import AbstractFixedStepSolver as AbstractFixedStepSolver
    from .base.pick import Picked as Picked
    from .base.problem import Problem as Problem
    from .base.solution import Solution as Solution
    from .base.solution import SolveError as SolveError
    from .base.solution import Stats as Stats
    from .base.solution import Status as Status
    from .base.solution import raise_for_status as raise_for_status
    from .base.solver import AbstractSolver as AbstractSolver
    from .base.solver import Refined as Refined
    from .base.solver import Scale as Scale
    from .diffrax.ode import FromDiffrax as FromDiffrax
    from .diffrax.table import to_diffrax as to_diffrax
    from .leaves import labels as labels
    from .leaves import trainable as trainable
    from .rk import order as order
    from .rk import tableaus as tableaus
    from .rk.adaptive.adaptive import Adaptive as Adaptive
    from .rk.fixed import FixedSteps as FixedSteps
    from .rk.learned import LearnedRK as LearnedRK
    from .rk.learned import OffGridWarning as OffGridWarning
    from .rk.reversible import Reversible as Reversible
    from .rk.tableau import Tableau as Tableau
    from .sde.brownian import BrownianPath as BrownianPath
    from .sde.euler_maruyama import EulerMaruyama as EulerMaruyama
    from .sde.learned_srk import LearnedSRK as LearnedSRK
    from .sde.milstein import Milstein as Milstein
    from .sde.platen import Platen as Platen
    from .sde.sde import SDE as SDE
    from .sde.srk import SRK as SRK
    from .sde.stochastic_heun import StochasticHeun as StochasticHeun
    from .serialise import load as load
    from .serialise import register_solver as register_solver
    from .serialise import save as save
else:
    __getattr__, __dir__, __all__ = lazy_names(
        __name__,
        {
            "AbstractFixedStepSolver": ".base.fixed_step",
            "AbstractSolver": ".base.solver",
            "Adaptive": ".rk.adaptive.adaptive",
            "BrownianPath": ".sde.brownian",
            "EulerMaruyama": ".sde.euler_maruyama",
            "Event": ".base.event",
            "FixedSteps": ".rk.fixed",
            "FromDiffrax": ".diffrax.ode",
            "LearnedRK": ".rk.learned",
            "LearnedSRK": ".sde.learned_srk",
            "Milstein": ".sde.milstein",
            "OffGridWarning": ".rk.learned",
            "Picked": ".base.pick",
            "Platen": ".sde.platen",
            "Problem": ".base.problem",
            "Refined": ".base.solver",
            "Reversible": ".rk.reversible",
            "SDE": ".sde.sde",
            "SRK": ".sde.srk",
            "Scale": ".base.solver",
            "Solution": ".base.solution",
            "SolveError": ".base.solution",
            "Stats": ".base.solution",
            "Status": ".base.solution",
            "StochasticHeun": ".sde.stochastic_heun",
            "Tableau": ".rk.tableau",
            "labels": ".leaves",
            "load": ".serialise",
            "raise_for_status": ".base.solution",
            "register_solver": ".serialise",
            "save": ".serialise",
            "to_diffrax": ".diffrax.table",
            "trainable": ".leaves",
        },
        modules=[".rk.order", ".rk.tableaus"],
    )

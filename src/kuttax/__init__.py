"""kuttax: neural differential equations that are cheap and stay honest."""

__version__ = "0.1.0"  # the only place; above the imports, since modules below read it

from . import _starting as _starting  # isort: skip: Ctrl-C while the rest is imported
from . import density as density
from . import penalties as penalties
from . import solvers as solvers
from . import validity as validity
from ._fit.fit import Fitted as Fitted
from ._fit.fit import Levers as Levers
from ._fit.fit import fit as fit
from ._solve.solve import solve as solve
from .adjoints import AbstractAdjoint as AbstractAdjoint
from .adjoints import BacksolveAdjoint as BacksolveAdjoint
from .adjoints import DiscreteAdjoint as DiscreteAdjoint
from .adjoints import ForwardMode as ForwardMode
from .distillation import Distilled as Distilled
from .distillation import distill as distill
from .distillation import student as student
from .errors import UserError as UserError
from .penalties import Consistency as Consistency
from .penalties import GlobalError as GlobalError
from .penalties import GlobalStiffness as GlobalStiffness
from .penalties import LocalError as LocalError
from .penalties import LocalStiffness as LocalStiffness
from .penalties.base import AbstractPenalty as AbstractPenalty
from .penalties.base import Penalties as Penalties
from .solvers.base.solution import Solution as Solution
from .solvers.base.solution import SolveError as SolveError
from .solvers.base.solution import Stats as Stats
from .solvers.base.solution import Status as Status
from .solvers.base.solution import raise_for_status as raise_for_status
from .solvers.base.solver import AbstractSolver as AbstractSolver
from .solvers.diffrax.ode import FromDiffrax as FromDiffrax
from .solvers.diffrax.ode import to_diffrax as to_diffrax
from .solvers.rk import export as export
from .solvers.rk import order as order
from .solvers.rk import tableaus as tableaus
from .solvers.rk.adaptive import Adaptive as Adaptive
from .solvers.rk.fixed import FixedSteps as FixedSteps
from .solvers.rk.learned import LearnedRK as LearnedRK
from .solvers.rk.learned import OffGridWarning as OffGridWarning
from .solvers.rk.reversible import Reversible as Reversible
from .solvers.rk.tableaus import Tableau as Tableau
from .solvers.sde.brownian import BrownianPath as BrownianPath
from .solvers.sde.euler_maruyama import EulerMaruyama as EulerMaruyama
from .solvers.sde.learned_srk import LearnedSRK as LearnedSRK
from .solvers.sde.milstein import Milstein as Milstein
from .solvers.sde.sde import SDE as SDE
from .solvers.sde.srk import SRK as SRK
from .solvers.sde.stochastic_heun import StochasticHeun as StochasticHeun
from .solvers.serialise import load_solver as load_solver
from .solvers.serialise import save_solver as save_solver
from .solvers.trainable import labels as labels
from .solvers.trainable import trainable as trainable
from .validity.prediction import Prediction as Prediction

"""kuttax: neural differential equations that are cheap and stay honest."""

from . import penalties as penalties
from . import solvers as solvers
from .adjoints import AbstractAdjoint as AbstractAdjoint
from .adjoints import BacksolveAdjoint as BacksolveAdjoint
from .adjoints import DiscreteAdjoint as DiscreteAdjoint
from .adjoints import ForwardMode as ForwardMode
from .errors import UserError as UserError
from .penalties import GlobalError as GlobalError
from .penalties import GlobalStiffness as GlobalStiffness
from .penalties import LocalError as LocalError
from .penalties import LocalStiffness as LocalStiffness
from .penalty import AbstractPenalty as AbstractPenalty
from .penalty import Penalties as Penalties
from .solve import solve as solve
from .solvers import export as export
from .solvers import order as order
from .solvers import tableaus as tableaus
from .solvers.adaptive import Adaptive as Adaptive
from .solvers.base import AbstractSolver as AbstractSolver
from .solvers.brownian import BrownianPath as BrownianPath
from .solvers.diffrax import FromDiffrax as FromDiffrax
from .solvers.diffrax import to_diffrax as to_diffrax
from .solvers.euler_maruyama import EulerMaruyama as EulerMaruyama
from .solvers.fixed import FixedSteps as FixedSteps
from .solvers.learned import LearnedRK as LearnedRK
from .solvers.learned import OffGridWarning as OffGridWarning
from .solvers.learned_srk import LearnedSRK as LearnedSRK
from .solvers.milstein import Milstein as Milstein
from .solvers.reversible import Reversible as Reversible
from .solvers.sde import SDE as SDE
from .solvers.serialise import load_solver as load_solver
from .solvers.serialise import save_solver as save_solver
from .solvers.solution import Solution as Solution
from .solvers.solution import SolveError as SolveError
from .solvers.solution import Stats as Stats
from .solvers.solution import Status as Status
from .solvers.srk import SRK as SRK
from .solvers.stochastic_heun import StochasticHeun as StochasticHeun
from .solvers.tableaus import Tableau as Tableau
from .trainable import labels as labels
from .trainable import trainable as trainable

__version__ = "0.1.0"

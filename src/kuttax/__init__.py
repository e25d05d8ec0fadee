"""kuttax: neural differential equations that are cheap and stay honest."""

from . import starting as starting  # isort: skip: Ctrl-C while the rest is imported
from . import density as density
from . import penalties as penalties
from . import solvers as solvers
from . import validity as validity
from .adjoints import AbstractAdjoint as AbstractAdjoint
from .adjoints import BacksolveAdjoint as BacksolveAdjoint
from .adjoints import DiscreteAdjoint as DiscreteAdjoint
from .adjoints import ForwardMode as ForwardMode
from .distillation import Distilled as Distilled
from .distillation import distill as distill
from .distillation import student as student
from .errors import UserError as UserError
from .fit import Fitted as Fitted
from .fit import Levers as Levers
from .fit import fit as fit
from .penalties import Consistency as Consistency
from .penalties import GlobalError as GlobalError
from .penalties import GlobalStiffness as GlobalStiffness
from .penalties import LocalError as LocalError
from .penalties import LocalStiffness as LocalStiffness
from .penalty import AbstractPenalty as AbstractPenalty
from .penalty import Penalties as Penalties
from .prediction import Prediction as Prediction
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
from .solvers.solution import raise_for_status as raise_for_status
from .solvers.srk import SRK as SRK
from .solvers.stochastic_heun import StochasticHeun as StochasticHeun
from .solvers.tableaus import Tableau as Tableau
from .trainable import labels as labels
from .trainable import trainable as trainable

__version__ = "0.1.0"

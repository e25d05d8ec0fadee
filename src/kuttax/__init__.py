"""kuttax: neural differential equations that are fast to solve and do not depend on their solver."""

from . import _starting as _starting  # isort: skip: Ctrl-C while the rest is imported
from . import data, density, nn, penalties, solvers, tasks, training, validity
from ._fit.fit import fit
from ._fit.options import FitOptions
from ._fit.result import Fitted, Phase
from ._solve.solve import solve
from ._version import __version__ as __version__
from .adjoints import AbstractAdjoint, BacksolveAdjoint, DiscreteAdjoint, ForwardMode
from .distillation import Distilled, distill, student
from .errors import UserError
from .inputs import ZeroOrderHold
from .penalties import AbstractPenalty, Consistency, GlobalError, GlobalStiffness, LocalError, LocalStiffness, Penalties
from .solvers import *  # noqa: F403  # whose __all__ names what is public
from .validity import certify
from .validity.prediction import Prediction

__all__ = [
    "AbstractAdjoint",
    "AbstractPenalty",
    "BacksolveAdjoint",
    "Consistency",
    "DiscreteAdjoint",
    "Distilled",
    "FitOptions",
    "Fitted",
    "ForwardMode",
    "GlobalError",
    "GlobalStiffness",
    "LocalError",
    "LocalStiffness",
    "Penalties",
    "Phase",
    "Prediction",
    "UserError",
    "ZeroOrderHold",
    "certify",
    "data",
    "density",
    "distill",
    "fit",
    "nn",
    "penalties",
    "solve",
    "solvers",
    "student",
    "tasks",
    "training",
    "validity",
]
__all__ += solvers.__all__


def __dir__() -> list[str]:
    return sorted(__all__)

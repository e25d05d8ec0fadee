"""kuttax: neural differential equations that are fast to solve and do not depend on their solver."""

from . import _starting as _starting  # isort: skip: Ctrl-C while the rest is imported
from typing import TYPE_CHECKING

from . import solvers as solvers
from ._lazy import lazy_names

if TYPE_CHECKING:
    from . import data as data
    from . import density as density
    from . import export as export
    from . import nn as nn
    from . import penalties as penalties
    from . import tasks as tasks
    from . import training as training
    from . import validity as validity
    from ._fit.fit import fit as fit
    from ._fit.options import FitOptions as FitOptions
    from ._fit.result import Fitted as Fitted
    from ._fit.result import Phase as Phase
    from ._solve.solve import solve as solve
    from ._version import __version__ as __version__
    from .adjoints import AbstractAdjoint as AbstractAdjoint
    from .adjoints import BacksolveAdjoint as BacksolveAdjoint
    from .adjoints import DiscreteAdjoint as DiscreteAdjoint
    from .adjoints import ForwardMode as ForwardMode
    from .distillation import Distilled as Distilled
    from .distillation import distill as distill
    from .distillation import student as student
    from .errors import UserError as UserError
    from .growth import GrowthRates as GrowthRates
    from .growth import growth_rates as growth_rates
    from .inputs import ZeroOrderHold as ZeroOrderHold
    from .penalties import AbstractPenalty as AbstractPenalty
    from .penalties import Consistency as Consistency
    from .penalties import GlobalError as GlobalError
    from .penalties import GlobalStiffness as GlobalStiffness
    from .penalties import LocalError as LocalError
    from .penalties import LocalStiffness as LocalStiffness
    from .penalties import Penalties as Penalties
    from .pytorch.field import from_torch as from_torch
    from .solvers import *  # noqa: F403
    from .validity import certify as certify
    from .validity.prediction import Prediction as Prediction
else:
    __getattr__, __dir__, __all__ = lazy_names(
        __name__,
        {
            "AbstractAdjoint": ".adjoints",
            "AbstractPenalty": ".penalties",
            "BacksolveAdjoint": ".adjoints",
            "Consistency": ".penalties",
            "DiscreteAdjoint": ".adjoints",
            "Distilled": ".distillation",
            "FitOptions": "._fit.options",
            "Fitted": "._fit.result",
            "ForwardMode": ".adjoints",
            "GlobalError": ".penalties",
            "GlobalStiffness": ".penalties",
            "GrowthRates": ".growth",
            "LocalError": ".penalties",
            "LocalStiffness": ".penalties",
            "Penalties": ".penalties",
            "Phase": "._fit.result",
            "Prediction": ".validity.prediction",
            "UserError": ".errors",
            "ZeroOrderHold": ".inputs",
            "__version__": "._version",
            "certify": ".validity",
            "distill": ".distillation",
            "fit": "._fit.fit",
            "from_torch": ".pytorch.field",
            "growth_rates": ".growth",
            "solve": "._solve.solve",
            "student": ".distillation",
            **dict.fromkeys(solvers.__all__, ".solvers"),
        },
        modules=[".data", ".density", ".export", ".nn", ".penalties", ".solvers", ".tasks", ".training", ".validity"],
    )

"""Numerical validity: whether a model means anything without its solver, and steps that keep it so."""

from .certified_control import Band as Band
from .certified_control import CertifiedControl as CertifiedControl
from .control import Control as Control
from .reading import Tolerances as Tolerances
from .step_control import StepControl as StepControl
from .step_control import ToleranceControl as ToleranceControl

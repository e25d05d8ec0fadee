"""Numerical validity: whether a model means anything without its solver, and steps that keep it so."""

from .certificate import Certificate as Certificate
from .certificate import certify as certify
from .certified_control import Band as Band
from .certified_control import CertifiedControl as CertifiedControl
from .control import Control as Control
from .judge import Thresholds as Thresholds
from .judge import judge as judge
from .measure import Measurement as Measurement
from .measure import Row as Row
from .measure import measure as measure
from .reading import Tolerances as Tolerances
from .step_control import StepControl as StepControl
from .step_control import ToleranceControl as ToleranceControl

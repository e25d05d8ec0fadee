"""Numerical validity: whether a model means anything without its solver, and steps that keep it so."""

from .certificate.certificate import Certificate as Certificate
from .certificate.certificate import certify as certify
from .certificate.judge import Thresholds as Thresholds
from .certificate.judge import judge as judge
from .certificate.measure import Measurement as Measurement
from .certificate.measure import SolverRow as SolverRow
from .certificate.measure import measure as measure
from .control.certified import Band as Band
from .control.certified import CertifiedControl as CertifiedControl
from .control.control import Control as Control
from .control.published import StepControl as StepControl
from .control.published import ToleranceControl as ToleranceControl
from .control.reading import Tolerances as Tolerances

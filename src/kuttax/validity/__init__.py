"""Numerical validity: whether predictions depend on the solver, and step control that keeps them independent."""

from .certificate.certificate import Certificate, certify
from .certificate.judge import Thresholds, judge
from .certificate.measure import Measurement, SolverRow, measure
from .control.certified import Band, CertifiedControl
from .control.control import Control
from .control.published import StepControl, ToleranceControl
from .control.reading import Tolerances
from .prediction import Prediction, mean_nfe

__all__ = [
    "Band",
    "Certificate",
    "CertifiedControl",
    "Control",
    "Measurement",
    "Prediction",
    "SolverRow",
    "StepControl",
    "Thresholds",
    "ToleranceControl",
    "Tolerances",
    "certify",
    "judge",
    "mean_nfe",
    "measure",
]

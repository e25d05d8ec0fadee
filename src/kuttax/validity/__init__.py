"""Validity: whether a trained field is still an ODE."""

from .certificate import Certificate as Certificate
from .certificate import certify as certify
from .judge import Thresholds as Thresholds
from .judge import judge as judge
from .measure import Measurement as Measurement
from .measure import Row as Row
from .measure import measure as measure

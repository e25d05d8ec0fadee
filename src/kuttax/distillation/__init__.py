"""Learned solvers for a field that is frozen: fit to a fine teacher, judged on starts that the fit never saw."""

from .classical import Row as Row
from .distill import Distilled as Distilled
from .distill import distill as distill
from .students import student as student

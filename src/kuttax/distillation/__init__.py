"""Learned solvers for a field that is frozen: fit to a fine teacher, judged on starts that the fit never saw."""

from .classical import SchemeRow as SchemeRow
from .classical import row as row
from .classical import table as table
from .distill import Distilled as Distilled
from .distill import distill as distill
from .frozen import Frozen as Frozen
from .starts import Pairs as Pairs
from .students import student as student

"""Learned solvers for a field that is frozen: fit to a fine teacher, judged on starts that the fit never saw."""

from .classical import SchemeRow, row, table
from .distill import Distilled, distill
from .frozen import Frozen
from .starts import Pairs
from .students import student

__all__ = [
    "Distilled",
    "Frozen",
    "Pairs",
    "SchemeRow",
    "distill",
    "row",
    "student",
    "table",
]

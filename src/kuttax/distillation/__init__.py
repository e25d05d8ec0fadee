"""Learned solvers for a frozen field: fitted to a fine teacher, evaluated on held-out starts."""

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

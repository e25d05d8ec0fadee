"""How a solve is differentiated."""

from .backsolve import BacksolveAdjoint
from .base import AbstractAdjoint
from .discrete import DiscreteAdjoint
from .forward import ForwardMode

__all__ = [
    "AbstractAdjoint",
    "BacksolveAdjoint",
    "DiscreteAdjoint",
    "ForwardMode",
]

"""How a solve is differentiated."""

from .backsolve import BacksolveAdjoint as BacksolveAdjoint
from .base import AbstractAdjoint as AbstractAdjoint
from .discrete import DiscreteAdjoint as DiscreteAdjoint
from .forward import ForwardMode as ForwardMode

"""Penalties, which keep a field cheap to solve: the argument `penalty` of `solve`."""

from .registry import *  # noqa: F403  # whose __all__ names what is public
from .registry import __all__ as __all__

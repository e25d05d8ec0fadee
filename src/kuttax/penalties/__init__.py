"""Penalties keep a field cheap to solve. Pass one as the argument `penalty` of `solve`."""

from .registry import *  # noqa: F403  # its __all__ names the public objects
from .registry import __all__ as __all__

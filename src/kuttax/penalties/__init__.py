"""Penalties keep a field cheap to solve. Pass one as the argument `penalty` of `solve`."""

from typing import TYPE_CHECKING

from .._lazy import lazy_module

if TYPE_CHECKING:
    from .registry import *  # noqa: F403  # its __all__ names the public objects
    from .registry import __all__ as __all__
else:
    __getattr__, __dir__ = lazy_module(__name__, ".registry")

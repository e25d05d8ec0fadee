"""Running a module in the precision of its input."""

from typing import TypeVar

import equinox as eqx
import jax
from jaxtyping import DTypeLike

Module = TypeVar("Module")


def cast_floating(module: Module, dtype: DTypeLike) -> Module:
    """Casts the floating-point arrays of a pytree to `dtype`; costs nothing if they already have it.

    So a reference can solve a field trained in float32 in float64, with the same weights.
    """
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf, module)

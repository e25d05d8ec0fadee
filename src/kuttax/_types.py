"""Names of the types that several parts share."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Array, Float, Int, PyTree

AnyArray = Array | np.ndarray
"""A JAX array, or a NumPy array if the numbers are known before a program runs."""

State = PyTree[AnyArray]
"""The state y: any pytree of floating-point arrays."""

VectorField = Callable[[Any, Any, Any], Any]
"""`field(t, y, args) -> dy/dt`, shaped like y."""

Time = Float[Array, "*samples"]
"""A time or a step size: a scalar, or one for each sample if every sample has its own steps."""

Count = Int[Array, "*samples"]
"""A number of steps or evaluations: a scalar, or one for each sample."""

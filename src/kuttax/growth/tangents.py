"""The variational equation: a field together with the directions in which its state may move."""

from typing import Any

import jax
from jaxtyping import Array

from .._types import VectorField


def with_tangents(field: VectorField) -> VectorField:
    """The field of (y, V), a state (d,) and directions (d, k), with dV/dt = J(t, y) V."""

    def augmented(t: Any, state: tuple[Array, Array], args: Any) -> tuple[Array, Array]:
        y, v = state
        slope, along = jax.linearize(lambda y: field(t, y, args), y)
        return slope, jax.vmap(along, in_axes=1, out_axes=1)(v)

    return augmented

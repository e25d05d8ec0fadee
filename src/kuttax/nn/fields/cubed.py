"""A field of the cubed state."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from ..._types import VectorField


class Cubed(eqx.Module):
    """`dy/dt = field(t, y^3)`, elementwise: the usual model for the spirals in the literature (Chen et al. 2018).

    Attributes:
        field: The field, written for one sample.
    """

    field: VectorField

    def __call__(self, t: Float[Array, ""] | float, y: Float[Array, " d"], args: Any = None) -> Float[Array, " d"]:
        """The derivative of one sample's state."""
        return self.field(t, y**3, args)

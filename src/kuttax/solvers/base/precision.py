"""Half precision: a field may compute in it, a solver's sums may not.

bfloat16 has no number between 0.996 and 1, so that adding a thousandth to 1 changes nothing. States, times and step
sizes are therefore float32 at least, whatever the dtype of the user's state; the field still computes in that one.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._types import State, VectorField


def carried_in(dtype: Any) -> Any:
    """The dtype in which a solver carries a state of this one: the same, or float32 where it is narrower."""
    return jnp.dtype(jnp.float32) if jnp.finfo(dtype).bits < 32 else jnp.dtype(dtype)


def cast(tree: State, dtype: Any) -> State:
    """The floating-point leaves of a tree in `dtype`."""
    return jax.tree.map(lambda x: x.astype(dtype), tree)


class ComputedIn(eqx.Module):
    """A field, or a drift or a diffusion, that computes in a narrower dtype than the solver's.

    Attributes:
        function: A function of (t, y, args).
        narrow: The name of its dtype.
    """

    function: VectorField
    narrow: str = eqx.field(static=True)

    def __call__(self, t, y, args):
        slope = self.function(t.astype(self.narrow), cast(y, self.narrow), args)
        return cast(slope, carried_in(self.narrow))

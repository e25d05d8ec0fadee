"""Half precision: a field may compute in it, but a solver does not sum in it.

bfloat16 has no number between 0.996 and 1, so adding a thousandth to 1 changes nothing. States, times and step sizes
are therefore at least float32, whatever the dtype of the user's state; the field still computes in the user's dtype.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._types import State, VectorField


def carried_in(dtype: Any) -> Any:
    """The dtype in which a solver keeps a state of this dtype: the same, or float32 if it is narrower."""
    return jnp.dtype(jnp.float32) if jnp.finfo(dtype).bits < 32 else jnp.dtype(dtype)


def cast(tree: State, dtype: Any) -> State:
    """The floating-point leaves of a tree in `dtype`."""
    return jax.tree.map(lambda x: x.astype(dtype), tree)


class ComputedIn(eqx.Module):
    """A field, a drift or a diffusion that computes in a narrower dtype than the solver.

    Attributes:
        function: A function of (t, y, args).
        narrow: The name of that dtype.
    """

    function: VectorField
    narrow: str = eqx.field(static=True)

    def __call__(self, t, y, args):
        slope = self.function(t.astype(self.narrow), cast(y, self.narrow), args)
        return cast(slope, carried_in(self.narrow))

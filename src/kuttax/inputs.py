"""Inputs of a field that depend on time: paths with knots, for the args of `kuttax.solve`."""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .errors import UserError


class ZeroOrderHold(diffrax.AbstractPath):
    """A stepwise input: from each knot until the next, it has the knot's value.

    Before the first knot it has the first value, after the last knot the last one. At a knot it has the new value.
    Pass it in the `args` of `kuttax.solve`, with `jumps="knots"`: steps then end at the knots.

    Attributes:
        knots: The times of the knots, increasing, (knots,); a row may end in NaN.
        values: The values there, any pytree whose leaves have a leading axis of the same length, or a list of numbers.

    For a batch in which every sample has its own input, give both one more leading axis, and `args_axes=0` to `solve`.

    Raises:
        UserError: Knots and values differ in their number.
    """

    knots: Float[Array, "*samples knots"]
    values: PyTree[Float[Array, "..."]]

    def __init__(self, ts: Any, values: Any):
        """Holds `values` from the times `ts` on."""
        try:
            knots = jnp.asarray(ts)
        except TypeError:
            raise UserError(f"the times of an input must be numbers, got {ts!r}") from None
        self.knots = knots if jnp.issubdtype(knots.dtype, jnp.floating) else knots.astype(jnp.result_type(float))
        numbers = isinstance(values, list) and all(isinstance(x, int | float) for x in values)
        self.values = jnp.asarray(values, jnp.result_type(float)) if numbers else jax.tree.map(jnp.asarray, values)
        for leaf in jax.tree.leaves(self.values):
            if leaf.shape[: self.knots.ndim] != self.knots.shape or self.knots.ndim not in (1, 2):
                raise UserError(
                    f"an input needs one value for each of its knots, (knots, ...), or with a row for each sample "
                    f"(samples, knots, ...): got knots {self.knots.shape} and values {leaf.shape}"
                )

    @property
    def ts(self) -> Float[Array, "*samples knots"]:
        """The times of the knots."""
        return self.knots

    @property
    def t0(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The first knot."""
        return self.knots[..., 0]

    @property
    def t1(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The last knot."""
        return jnp.nanmax(self.knots, axis=-1)

    def evaluate(self, t0: Any, t1: Any = None, left: bool = False) -> Any:
        """The value at t0, or the change from t0 to t1; with `left`, at a knot the value before it."""
        if t1 is not None:
            return jax.tree.map(jnp.subtract, self.evaluate(t1, left=left), self.evaluate(t0, left=left))
        passed = self.knots < t0 if left else self.knots <= t0  # false of NaN
        index = jnp.maximum(jnp.sum(passed) - 1, 0)
        return jax.tree.map(lambda x: x[index], self.values)

    def __call__(self, t: Any) -> Any:
        """The value at t."""
        return self.evaluate(t)

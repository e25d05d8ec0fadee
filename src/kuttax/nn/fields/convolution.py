"""Convolution: 3x3, zero padding."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray


class Convolution(eqx.Module):
    """A 3x3 convolution with zero padding and a bias; height and width do not change.

    Attributes:
        weight: (outputs, inputs, 3, 3).
        bias: (outputs,).
    """

    weight: Float[Array, "outputs inputs 3 3"]
    bias: Float[Array, " outputs"]

    def __init__(self, inputs: int, outputs: int, *, key: PRNGKeyArray, dtype: DTypeLike = jnp.float32):
        """Draws the weights as `equinox.nn.Conv2d` does: uniform within 1 / sqrt(9 inputs)."""
        drawn = eqx.nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, dtype=dtype, key=key)
        assert drawn.bias is not None
        self.weight, self.bias = drawn.weight, drawn.bias[:, 0, 0]

    def __call__(self, x: Float[Array, "inputs height width"]) -> Float[Array, "outputs height width"]:
        """The convolution of one sample."""
        return jax.lax.conv_general_dilated(x[None], self.weight, (1, 1), "SAME")[0] + self.bias[:, None, None]

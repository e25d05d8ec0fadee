"""Convolution: square, with zero padding."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray


class Convolution(eqx.Module):
    """A square convolution with zero padding and a bias; height and width do not change.

    Attributes:
        weight: (outputs, inputs, size, size).
        bias: (outputs,).
    """

    weight: Float[Array, "outputs inputs size size"]
    bias: Float[Array, " outputs"]

    def __init__(self, inputs: int, outputs: int, *, key: PRNGKeyArray, size: int = 3, dtype: DTypeLike = jnp.float32):
        """Draws the weights as `equinox.nn.Conv2d` does: uniform within 1 / sqrt(size^2 inputs); `size` is odd."""
        drawn = eqx.nn.Conv2d(inputs, outputs, kernel_size=size, padding=size // 2, dtype=dtype, key=key)
        assert drawn.bias is not None
        self.weight, self.bias = drawn.weight, drawn.bias[:, 0, 0]

    def __call__(self, x: Float[Array, "inputs height width"]) -> Float[Array, "outputs height width"]:
        """The convolution of one sample."""
        return jax.lax.conv_general_dilated(x[None], self.weight, (1, 1), "SAME")[0] + self.bias[:, None, None]

"""Convolution: 3x3, zero padding, fast inside a solver's loop."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray


class Convolution(eqx.Module):
    """A 3x3 convolution with zero padding and a bias; height and width do not change.

    On CPUs it is a sum of nine products, one for each entry of the kernel. XLA's own convolution is fast there only
    outside of loops; in a solver's loop it is 5 times slower with its gradient (docs/performance.md).

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
        return convolve(x, self.weight) + self.bias[:, None, None]


def convolve(
    x: Float[Array, "inputs height width"], weight: Float[Array, "outputs inputs 3 3"]
) -> Float[Array, "outputs height width"]:
    """One sample convolved with kernels of 3x3, zeros around it."""
    return jax.lax.platform_dependent(x, weight, cpu=_shifted_products, default=_convolution)


def _convolution(x: Array, weight: Array) -> Array:
    return jax.lax.conv_general_dilated(x[None], weight, (1, 1), "SAME")[0]


def _shifted_products(x: Array, weight: Array) -> Array:
    height, width = x.shape[1:]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1)))
    products = [
        jnp.tensordot(weight[:, :, i, j], padded[:, i : i + height, j : j + width], 1)
        for i in range(3)
        for j in range(3)
    ]
    return sum(products[1:], start=products[0])

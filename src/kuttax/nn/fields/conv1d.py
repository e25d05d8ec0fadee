"""A convolutional network along the coordinates as vector field."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray

from ...errors import UserError
from ..cast import cast_floating
from .layer_stack import append_time


class CoordinateConvolution(eqx.Module):
    """A convolution along the coordinates, zeros around them, with a bias.

    Attributes:
        weight: (taps, outputs, inputs), an odd number of taps.
        bias: (outputs,).
    """

    weight: Float[Array, "taps outputs inputs"]
    bias: Float[Array, " outputs"]

    def __init__(self, inputs: int, outputs: int, taps: int, *, key: PRNGKeyArray, dtype: DTypeLike = jnp.float32):
        """Draws normal weights of variance 2 / (taps inputs) (He et al., ICCV 2015), and no bias."""
        scale = (2 / (taps * inputs)) ** 0.5
        self.weight = scale * jax.random.normal(key, (taps, outputs, inputs), dtype)
        self.bias = jnp.zeros(outputs, dtype)

    def __call__(self, x: Float[Array, "size inputs"]) -> Float[Array, "size outputs"]:
        """The convolution of one sample."""
        taps, size = len(self.weight), len(x)
        if taps == 1:
            return x @ self.weight[0].T + self.bias[None]
        return (_as_matrix if size <= _FEW else _windows)(x, self.weight) + self.bias[None]


_FEW = 4
"""Up to this many coordinates most of the matrix is used, and a solver's loop takes 0.6 of the time of windows."""


def _as_matrix(x: Array, weight: Array) -> Array:
    """One product with the matrix over all coordinates and channels."""
    size, half = len(x), len(weight) // 2
    nothing = jnp.zeros_like(weight[0])
    tap = lambda offset: weight[offset + half] if abs(offset) <= half else nothing
    matrix = jnp.block([[tap(column - row) for column in range(size)] for row in range(size)])
    return (matrix @ x.reshape(-1)).reshape(size, -1)


def _windows(x: Array, weight: Array) -> Array:
    """Each coordinate and its neighbours side by side, times the stacked taps."""
    size, half = len(x), len(weight) // 2
    padded = jnp.pad(x, ((half, half), (0, 0)))
    windows = jnp.concatenate([padded[i : i + size] for i in range(len(weight))], axis=1)
    return windows @ jnp.concatenate([tap.T for tap in weight])


class Conv1dField(eqx.Module):
    """Convolutions along the coordinates of the state, taken as one channel: 1 -> width -> ... -> width -> 1.

    The first and the last have one tap, those between them three; ReLU between the layers. With width 32 and depth 2 it
    is the field of Ott, Katiyar, Hennig, Tiemann (ICLR 2021, arXiv 2007.15386) for concentric spheres, autonomous and
    with their initial weights.

    Attributes:
        layers: `depth + 1` convolutions.
        time_dependent: Whether the layers see the time, as a further channel.
        activation: Between the layers, elementwise.
    """

    layers: tuple[CoordinateConvolution, ...]
    time_dependent: bool = eqx.field(static=True)
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        size: int,
        width: int = 32,
        depth: int = 2,
        *,
        key: PRNGKeyArray,
        time_dependent: bool = False,
        activation: Callable[[Array], Array] = jax.nn.relu,
        dtype: DTypeLike = jnp.float32,
    ):
        """Draws the weights as `CoordinateConvolution` does.

        Args:
            size: Number of coordinates of the state.
            width: Channels of each hidden layer.
            depth: Number of hidden layers, >= 2: the first convolution that sees a neighbour lies between two of them.
            key: Draws the initial weights.
            time_dependent: See the attribute.
            activation: See the attribute.
            dtype: Dtype of the weights; the computation follows the state's dtype.

        Raises:
            UserError: If size or width is below 1, or depth below 2.
        """
        if size < 1 or width < 1 or depth < 2:
            raise UserError(f"Conv1dField needs size >= 1, width >= 1, depth >= 2, got {size}, {width}, {depth}")
        shapes = [(1, width, 1), *[(width, width, 3)] * (depth - 1), (width, 1, 1)]
        keys = jax.random.split(key, depth + 1)
        self.layers = tuple(
            CoordinateConvolution(inputs + time_dependent, outputs, taps, dtype=dtype, key=layer_key)
            for (inputs, outputs, taps), layer_key in zip(shapes, keys, strict=True)
        )
        self.time_dependent = time_dependent
        self.activation = activation

    def __call__(self, t: Float[Array, ""] | float, y: Float[Array, " size"], args=None) -> Float[Array, " size"]:
        """The derivative of one sample's state, in the dtype of `y`."""
        del args
        first, *others = cast_floating(self.layers, y.dtype)
        told = lambda h: append_time(h.T, t).T if self.time_dependent else h
        h = first(told(y[:, None]))
        for layer in others:
            h = layer(told(self.activation(h)))
        return h[:, 0]

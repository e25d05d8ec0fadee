"""ConcatSquash layers as vector field: the field of FFJORD."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray

from ...errors import UserError
from ..cast import cast_floating


class ConcatSquash(eqx.Module):
    """`(W x + b) * sigmoid(g t + c) + h t`: an affine map, gated and shifted by the time.

    Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud (FFJORD, ICLR 2019, arXiv 1810.01367), as in their code.

    Attributes:
        linear: W and b.
        gate: g and c.
        shift: h.
    """

    linear: eqx.nn.Linear
    gate: eqx.nn.Linear
    shift: eqx.nn.Linear

    def __init__(self, inputs: int, outputs: int, *, key: PRNGKeyArray, dtype: DTypeLike = jnp.float32):
        """Draws the weights as `equinox.nn.Linear` does."""
        linear, gate, shift = jax.random.split(key, 3)
        self.linear = eqx.nn.Linear(inputs, outputs, dtype=dtype, key=linear)
        self.gate = eqx.nn.Linear(1, outputs, dtype=dtype, key=gate)
        self.shift = eqx.nn.Linear(1, outputs, use_bias=False, dtype=dtype, key=shift)

    def __call__(self, t: Float[Array, " 1"], x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        return self.linear(x) * jax.nn.sigmoid(self.gate(t)) + self.shift(t)


class ConcatSquashField(eqx.Module):
    """`depth` hidden layers of `ConcatSquash` and one output layer: smooth, and dependent on time.

    Attributes:
        layers: `depth + 1` of them.
        activation: Between the layers, elementwise; a smooth one: the log-density needs its derivative.
    """

    layers: tuple[ConcatSquash, ...]
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        size: int,
        width: int,
        depth: int = 2,
        *,
        key: PRNGKeyArray,
        activation: Callable[[Array], Array] = jnp.tanh,
        dtype: DTypeLike = jnp.float32,
    ):
        """Draws the weights as `ConcatSquash` does.

        Args:
            size: Number of features of the state.
            width: Units of each hidden layer.
            depth: Number of hidden layers, >= 0.
            key: Draws the initial weights.
            activation: See the attribute.
            dtype: Dtype of the weights; the computation follows the state's dtype.

        Raises:
            UserError: If size or width is below 1, or depth below 0.
        """
        if size < 1 or width < 1 or depth < 0:
            raise UserError(f"ConcatSquashField needs size >= 1, width >= 1, depth >= 0, got {size}, {width}, {depth}")
        sizes = [size, *[width] * depth, size]
        keys = jax.random.split(key, depth + 1)
        self.layers = tuple(
            ConcatSquash(inputs, outputs, dtype=dtype, key=layer_key)
            for inputs, outputs, layer_key in zip(sizes[:-1], sizes[1:], keys, strict=True)
        )
        self.activation = activation

    def __call__(self, t: Float[Array, ""] | float, y: Float[Array, " size"], args=None) -> Float[Array, " size"]:
        """The derivative of one sample's state, in the dtype of `y`."""
        del args
        first, *others = cast_floating(self.layers, y.dtype)
        time = jnp.full(1, t, y.dtype)
        h = first(time, y)
        for layer in others:
            h = layer(time, self.activation(h))
        return h

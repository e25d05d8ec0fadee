"""A multilayer perceptron as vector field."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray

from ...errors import UserError
from .layer_stack import apply_layers


class MLPField(eqx.Module):
    """`dy/dt = W_L [a(... a(W_1 [y, t] + b_1) ...), t] + b_L`, the time appended to the input of every layer.

    With size 784, width 100, depth 1 it is the MNIST field of Pal, Edelman, Rackauckas (ICML 2023, arXiv 2303.02262):
    Dense(785 -> 100, tanh), Dense(101 -> 784).

    Attributes:
        layers: `depth + 1` affine maps.
        time_dependent: Whether the layers see the time; an autonomous field does not.
        activation: Between the layers, elementwise; smooth ones keep a solver's order.
        controls: Number of control inputs, the field's args; the first layer sees them beside the state.
    """

    layers: tuple[eqx.nn.Linear, ...]
    time_dependent: bool = eqx.field(static=True)
    activation: Callable[[Array], Array] = eqx.field(static=True)
    controls: int = eqx.field(static=True)

    def __init__(
        self,
        size: int,
        width: int,
        depth: int = 1,
        *,
        key: PRNGKeyArray,
        time_dependent: bool = True,
        activation: Callable[[Array], Array] = jnp.tanh,
        controls: int = 0,
        dtype: DTypeLike = jnp.float32,
    ):
        """Draws the weights as `equinox.nn.Linear` does.

        Args:
            size: Number of features of the state.
            width: Units of each hidden layer.
            depth: Number of hidden layers, >= 0.
            key: Draws the initial weights.
            time_dependent: See the attribute.
            activation: See the attribute.
            controls: See the attribute.
            dtype: Dtype of the weights; the computation follows the state's dtype.

        Raises:
            UserError: If size or width is below 1, or depth below 0.
        """
        if size < 1 or width < 1 or depth < 0:
            raise UserError(f"MLPField needs size >= 1, width >= 1, depth >= 0, got {size}, {width}, {depth}")
        sizes = [size + controls, *[width] * depth, size]
        keys = jax.random.split(key, depth + 1)
        self.layers = tuple(
            eqx.nn.Linear(inputs + time_dependent, outputs, dtype=dtype, key=layer_key)
            for inputs, outputs, layer_key in zip(sizes[:-1], sizes[1:], keys, strict=True)
        )
        self.time_dependent = time_dependent
        self.activation = activation
        self.controls = controls

    def __call__(
        self, t: Float[Array, ""] | float, y: Float[Array, " size"], args: Any = None
    ) -> Float[Array, " size"]:
        """The derivative of one sample's state, in the dtype of `y`; `args` are its control inputs, if it has any."""
        seen = jnp.concatenate([y, args]) if self.controls else y
        return apply_layers(self.layers, self.activation, t, seen, time_dependent=self.time_dependent)

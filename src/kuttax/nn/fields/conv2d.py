"""A convolutional network as vector field."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray

from ...errors import UserError
from .convolution import Convolution
from .layer_stack import apply_layers


class ConvField(eqx.Module):
    """Convolutions with zero padding, which keep height and width; the time is a channel of every layer's input.

    The time-dependent convolution of Dupont, Doucet, Teh (Augmented Neural ODEs, NeurIPS 2019, appendix D).

    Attributes:
        layers: `depth + 1` convolutions.
        time_dependent: Whether the layers see the time; an autonomous field does not.
        activation: Between the layers, elementwise; smooth ones keep a solver's order.
    """

    layers: tuple[Convolution, ...]
    time_dependent: bool = eqx.field(static=True)
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        channels: int,
        hidden: int,
        depth: int = 1,
        *,
        key: PRNGKeyArray,
        time_dependent: bool = True,
        activation: Callable[[Array], Array] = jnp.tanh,
        bottleneck: bool = False,
        dtype: DTypeLike = jnp.float32,
    ):
        """Draws the weights as `Convolution` does.

        Args:
            channels: Channels of the state, augmented ones included.
            hidden: Channels of each hidden layer.
            depth: Number of hidden layers, >= 0.
            key: Draws the initial weights.
            time_dependent: See the attribute.
            activation: See the attribute.
            bottleneck: Whether the first and the last of at least three layers look at one pixel alone, 1x1, as for
                CIFAR-10 by Ott et al. (ICLR 2021); all others are 3x3.
            dtype: Dtype of the weights; the computation follows the state's dtype.

        Raises:
            UserError: channels or hidden is below 1, depth below 0, or a bottleneck has fewer than three layers.
        """
        if channels < 1 or hidden < 1 or depth < 0:
            raise UserError(
                f"ConvField needs channels >= 1, hidden >= 1, depth >= 0, got {channels}, {hidden}, {depth}"
            )
        if bottleneck and depth < 2:
            raise UserError(f"a bottleneck field needs depth >= 2: a 3x3 layer between two of 1x1, got {depth}")
        sizes = [channels, *[hidden] * depth, channels]
        kernels = [1, *[3] * (depth - 1), 1] if bottleneck else [3] * (depth + 1)
        keys = jax.random.split(key, depth + 1)
        self.layers = tuple(
            Convolution(inputs + time_dependent, outputs, size=size, dtype=dtype, key=layer_key)
            for inputs, outputs, size, layer_key in zip(sizes[:-1], sizes[1:], kernels, keys, strict=True)
        )
        self.time_dependent = time_dependent
        self.activation = activation

    def __call__(
        self, t: Float[Array, ""] | float, y: Float[Array, "channels height width"], args=None
    ) -> Float[Array, "channels height width"]:
        """The derivative of one sample's state, in the dtype of `y`."""
        del args
        return apply_layers(self.layers, self.activation, t, y, time_dependent=self.time_dependent)

"""The vector field of a neural controlled differential equation."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray

from ...errors import UserError
from .layer_stack import apply_layers


class ControlledField(eqx.Module):
    """`dz/ds = f(z) dX/ds`, with `f(z) = tanh(W_L tanh(... tanh(W_1 z + b_1) ...) + b_L)` a matrix.

    Kidger, Morrill, Foster & Lyons (NeurIPS 2020, arXiv 2005.08926), equation 4; the final tanh bounds f, as there. The
    args of the field are the rates dX/ds of one path (`kuttax.data.series.controls.Controls`), so that all paths share
    one field.

    Attributes:
        layers: `depth + 1` affine maps.
        size: Entries of the state.
        channels: Entries of dX/ds.
    """

    layers: tuple[eqx.nn.Linear, ...]
    size: int = eqx.field(static=True)
    channels: int = eqx.field(static=True)

    def __init__(
        self,
        size: int,
        channels: int,
        width: int,
        depth: int = 1,
        *,
        key: PRNGKeyArray,
        dtype: DTypeLike = jnp.float32,
    ):
        """Draws the weights as `equinox.nn.Linear` does.

        Args:
            size, channels: See the attributes.
            width: Units of each hidden layer.
            depth: Number of hidden layers, >= 0.
            key: Draws the initial weights.
            dtype: Dtype of the weights; the computation follows the state's dtype.

        Raises:
            UserError: If a size is below 1, or depth below 0.
        """
        if size < 1 or channels < 1 or width < 1 or depth < 0:
            raise UserError(
                "ControlledField needs size >= 1, channels >= 1, width >= 1, depth >= 0, got "
                f"{size}, {channels}, {width}, {depth}"
            )
        sizes = [size, *[width] * depth, size * channels]
        keys = jax.random.split(key, depth + 1)
        self.layers = tuple(
            eqx.nn.Linear(inputs, outputs, dtype=dtype, key=layer_key)
            for inputs, outputs, layer_key in zip(sizes[:-1], sizes[1:], keys, strict=True)
        )
        self.size, self.channels = size, channels

    def matrix(self, z: Float[Array, " size"]) -> Float[Array, "size channels"]:
        """f(z)."""
        flat = jnp.tanh(apply_layers(self.layers, jnp.tanh, 0.0, z, time_dependent=False))
        return flat.reshape(self.size, self.channels)

    def __call__(
        self, s: Float[Array, ""] | float, z: Float[Array, " size"], rates: Float[Array, "windows powers channels"]
    ) -> Float[Array, " size"]:
        """dz/ds of one sample, in the dtype of `z`."""
        return self.matrix(z) @ rate(s, rates).astype(z.dtype)


def rate(s: Float[Array, ""] | float, rates: Float[Array, "windows powers channels"]) -> Float[Array, " channels"]:
    """dX/ds at s: in window w = floor(s), the sum over k of `rates[w, k] (s - w)^k`."""
    windows, powers, _ = rates.shape
    window = jnp.clip(jnp.floor(s), 0, windows - 1)
    now = rates[window.astype(jnp.int32)]
    passed = jnp.asarray(s - window, rates.dtype)
    value = now[powers - 1]
    for power in range(powers - 2, -1, -1):
        value = value * passed + now[power]
    return value

"""Layers applied one after another, each with the time as one more feature or channel of its input."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..cast import cast_floating


def apply_layers(
    layers: Sequence[Callable[[Array], Array]],
    activation: Callable[[Array], Array],
    t: Float[Array, ""] | float,
    y: Float[Array, "channels ..."],
    *,
    time_dependent: bool,
) -> Float[Array, "channels_out ..."]:
    """Applies `layers` to one sample, with `activation` between them, in the dtype of `y`.

    Args:
        layers: If `time_dependent`, each takes one feature or channel more than the output of the layer before.
        activation: Elementwise; not applied after the last layer, because a derivative is unbounded.
        t: The time.
        y: Features `(d,)` or an image `(channels, height, width)`.
        time_dependent: Whether `t` is appended to every layer's input.
    """
    first, *others = cast_floating(tuple(layers), y.dtype)
    y = first(append_time(y, t) if time_dependent else y)
    for layer in others:
        y = activation(y)
        y = layer(append_time(y, t) if time_dependent else y)
    return y


def append_time(y: Float[Array, "channels ..."], t: Float[Array, ""] | float) -> Float[Array, "channels_and_1 ..."]:
    """Appends `t` to features `(d,)`, or as a constant channel to an image `(channels, height, width)`."""
    return jnp.concatenate([y, jnp.full((1, *y.shape[1:]), t, y.dtype)])

"""PastEncoder: the hidden part of a state, from a window of the past."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .cast import cast_floating


class PastEncoder(eqx.Module):
    """A multilayer perceptron from the last observations and control inputs to the states that are not observed.

    An encoder of past inputs and outputs, as in subspace encoders (Beintema, Toth & Schoukens, L4DC 2021, arXiv
    2012.07697).

    Attributes:
        network: One hidden layer, tanh.
    """

    network: eqx.nn.MLP

    def __init__(self, rows: int, columns: int, hidden: int, width: int, *, key: PRNGKeyArray):
        """Draws the weights as equinox does, float32.

        Args:
            rows: Observations in the window.
            columns: Numbers in each: states and control inputs.
            hidden: States that are not observed.
            width: Hidden units.
            key: Draws the initial weights.
        """
        self.network = eqx.nn.MLP(rows * columns, hidden, width, 1, jnp.tanh, dtype=jnp.float32, key=key)

    def __call__(self, past: Float[Array, "rows columns"]) -> Float[Array, " hidden"]:
        """The hidden states at the last row of the window."""
        return cast_floating(self.network, past.dtype)(past.reshape(-1))


def with_hidden(
    encoder: PastEncoder | None, start: Float[Array, "n d"], past: Float[Array, "n rows columns"] | None
) -> Float[Array, "n size"]:
    """Observed states with the hidden ones appended; unchanged if there are none."""
    if encoder is None or past is None:
        return start
    return jnp.concatenate([start, jax.vmap(encoder)(past.astype(start.dtype))], axis=1)

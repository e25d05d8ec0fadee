"""Recognition: an encoder from an irregularly observed series to its latent state at time 0."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from .cast import cast_floating


class Recognised(eqx.Module):
    """A normal distribution over the latent state at time 0, with independent entries, and the encoder's last state.

    Attributes:
        mean, std: Mean and standard deviation of each entry.
        context: The encoder's hidden state.
    """

    mean: Float[Array, " latent"]
    std: Float[Array, " latent"]
    context: Float[Array, " hidden"]


class RecognitionGRU(eqx.Module):
    """A gated recurrent unit that runs backward in time over the observations of one series, to time 0.

    The recognition network of Chen et al. (NeurIPS 2018, section 5), with the mask and the time gaps as further inputs,
    as the RNN with gaps of Rubanova et al. (NeurIPS 2019). At each shown time its inputs are the values (zero if
    unobserved), the mask, and the gap to the next shown time backwards, or to 0. A time that is not shown leaves its
    state unchanged.

    Attributes:
        cell: The unit (Cho et al. 2014).
        head: From its last state to the mean and, through softplus, the standard deviation.
    """

    cell: eqx.nn.GRUCell
    head: eqx.nn.Linear

    def __init__(self, features: int, hidden: int, latent: int, *, key: PRNGKeyArray):
        """Draws the weights as equinox does, float32.

        Args:
            features: Number of features of the series.
            hidden: Size of the unit's state.
            latent: Size of the latent state.
            key: Draws the initial weights.
        """
        cell_key, head_key = jax.random.split(key)
        self.cell = eqx.nn.GRUCell(2 * features + 1, hidden, dtype=jnp.float32, key=cell_key)
        self.head = eqx.nn.Linear(hidden, 2 * latent, dtype=jnp.float32, key=head_key)

    def __call__(
        self,
        t: Float[Array, " times"],
        x: Float[Array, "times d"],
        mask: Bool[Array, "times d"],
        seen: Bool[Array, " times"],
    ) -> Recognised:
        """The distribution of the latent state from one series.

        Args:
            t: Increasing times, the first at least 0; times that are not shown may have any value.
            x: Values.
            mask: Which of them were observed.
            seen: The shown times; a time without any observation must not be shown.
        """
        cell, head = cast_floating((self.cell, self.head), x.dtype)
        seen = seen & mask.any(axis=1)
        observed = mask.astype(x.dtype)
        told = jnp.concatenate([x * observed, observed, gaps(t, seen)[:, None]], axis=1)

        def step(state, now):
            row, shown = now
            return jnp.where(shown, cell(row, state), state), None

        context, _ = jax.lax.scan(step, jnp.zeros(cell.hidden_size, x.dtype), (told, seen), reverse=True)
        mean, raw = jnp.split(head(context), 2)
        return Recognised(mean, jax.nn.softplus(raw), context)


def gaps(t: Float[Array, " times"], seen: Bool[Array, " times"]) -> Float[Array, " times"]:
    """The gap between each shown time and the shown time before it, or 0; the gap is 0 for a time that is not shown."""
    reached = jax.lax.cummax(jnp.where(seen, t, 0))
    before = jnp.concatenate([jnp.zeros_like(t, shape=(1,)), reached[:-1]])
    return jnp.where(seen, t - before, 0)

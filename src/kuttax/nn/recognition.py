"""Recognition: from an irregularly observed series to what it says of the latent state at its start."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from .cast import cast_floating


class Recognised(eqx.Module):
    """A normal distribution over the latent state at time 0, with independent entries, and the encoder's last state.

    Attributes:
        mean, std: Of each entry.
        context: The encoder's hidden state.
    """

    mean: Float[Array, " latent"]
    std: Float[Array, " latent"]
    context: Float[Array, " hidden"]


class RecognitionGRU(eqx.Module):
    """A gated recurrent unit that runs backward in time over the observations of one series, to time 0.

    The recognition network of Chen et al. (NeurIPS 2018, section 5), told what was observed and how much time lies
    between, as the RNN with gaps of Rubanova et al. (NeurIPS 2019). At each time that is shown it is given the values
    (zero where there is none), the mask, and the gap to the time that comes next on its way: the one shown before it,
    or 0. A time that is not shown leaves its state unchanged.

    Attributes:
        cell: The unit (Cho et al. 2014).
        head: From its last state to the mean and, through softplus, the standard deviation.
    """

    cell: eqx.nn.GRUCell
    head: eqx.nn.Linear

    def __init__(self, features: int, hidden: int, latent: int, *, key: PRNGKeyArray):
        """Draws the weights as equinox does, float32.

        Args:
            features: Of the series.
            hidden: Size of the unit's state.
            latent: Size of the latent state.
            key: Decides the initial weights.
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
        """What one series says.

        Args:
            t: Increasing times, the first at least 0; those that are not shown may be anything.
            x: Values.
            mask: Which of them were observed.
            seen: The times that are shown; a time at which nothing was observed is not.
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
    """The time from the last time that is shown before each one, or from 0, to it; 0 where it is not shown itself."""
    reached = jax.lax.cummax(jnp.where(seen, t, 0))
    before = jnp.concatenate([jnp.zeros_like(t, shape=(1,)), reached[:-1]])
    return jnp.where(seen, t - before, 0)

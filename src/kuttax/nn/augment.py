"""Augmented dimensions: zeros appended to the state, which give trajectories room to pass each other."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..errors import UserError


def augment(y: Float[Array, "..."], count: int, axis: int = 0) -> Float[Array, "..."]:
    """Appends `count` zeros along `axis`: the features `(d,)` or the channels `(c, h, w)` of one sample.

    In d dimensions a neural ODE's flow is a homeomorphism and cannot separate nested sets; in d + count it can
    (Dupont, Doucet, Teh, Augmented Neural ODEs, NeurIPS 2019, section 4).

    Args:
        y: The state.
        count: Number of zeros, >= 0.
        axis: The axis of the zeros: 0 for one sample, 1 for a batch.

    Raises:
        UserError: `count` is negative.
    """
    if count < 0:
        raise UserError(f"augmented dimensions must be >= 0, got {count}")
    if count == 0:
        return y
    shape = list(y.shape)
    shape[axis] = count
    return jnp.concatenate([y, jnp.zeros(shape, y.dtype)], axis=axis)

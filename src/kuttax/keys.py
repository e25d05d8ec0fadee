"""Keys: JAX's random keys as arguments."""

from typing import Any

import jax
import jax.numpy as jnp

from .errors import UserError


def check_key(key: Any) -> None:
    """Refuse what is not one random key.

    Raises:
        UserError: It is something else, such as a number.
    """
    dtype = getattr(key, "dtype", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    if not ((typed and key.ndim == 0) or (dtype == jnp.uint32 and key.ndim == 1)):
        got = type(key).__name__ if dtype is None else f"{dtype}{list(key.shape)}"
        raise UserError(f"key must be one JAX random key such as jax.random.key(0), got {got}")

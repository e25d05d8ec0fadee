"""Arrays of other libraries as JAX's."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree


def as_jax(tree: PyTree) -> PyTree:
    """A pytree whose tensors of PyTorch, and of other libraries with DLPack, are JAX arrays; the rest as it is.

    On a CPU they share their memory: do not write into the tensor afterwards.
    """
    return jax.tree.map(lambda x: _converted(x) if _is_foreign(x) else x, tree)


def _is_foreign(x: Any) -> bool:
    return hasattr(x, "__dlpack__") and not isinstance(x, jax.Array | np.ndarray | np.generic)


def _converted(x: Any) -> jax.Array:
    detached = x.detach() if hasattr(x, "detach") else x  # PyTorch does not hand out what has a gradient
    try:
        return jnp.from_dlpack(detached)
    except Exception:  # a device that JAX does not have, or a layout
        return jnp.asarray(np.asarray(detached.cpu() if hasattr(detached, "cpu") else detached))

"""Float64 beside a program in float32.

JAX's flag `jax_enable_x64` is global to the process. Teacher and fit need float64 whatever the user's program uses, so
they run in their own context; inputs and outputs are NumPy arrays, which do not depend on the flag.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, TypeVar

import equinox as eqx
import jax
import numpy as np

AnyTree = TypeVar("AnyTree")

# `jax.experimental.enable_x64` before JAX 0.8.
_parent: Any = jax if hasattr(jax, "enable_x64") else getattr(jax, "experimental")  # noqa: B009


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """Float64 inside, whatever JAX's flag.

    Promotion is the standard one here, so that float32 arrays that a field closes over can meet a float64 state: they
    keep their values, and the computation is in float64.
    """
    with _parent.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield


def cast(tree: AnyTree, dtype: Any) -> AnyTree:
    """The floating-point arrays of a pytree as NumPy arrays of `dtype`; everything else unchanged."""

    def one(leaf: Any) -> Any:
        if not (eqx.is_array_like(leaf) and np.issubdtype(getattr(leaf, "dtype", np.int64), np.floating)):
            return leaf
        return np.asarray(leaf).astype(dtype)

    return jax.tree.map(one, tree)

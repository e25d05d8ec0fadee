"""Which of the args have a sample axis: an int, None, a tuple of such, or names with such; hashable."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree


class ByName(NamedTuple):
    """The axes of the entries of a dict: a program's key must be hashable, and a dict is not."""

    entries: tuple[tuple[str, Any], ...]


def in_axes(axes: Any) -> Any:
    """The same as `jax.vmap` takes it."""
    if isinstance(axes, ByName):
        return {name: in_axes(axis) for name, axis in axes.entries}
    return tuple(map(in_axes, axes)) if isinstance(axes, tuple) else axes


def one_of(args: PyTree, axes: Any) -> PyTree:
    """The part of `args` that `jax.vmap` passes for one sample."""
    if axes is None:
        return args
    if isinstance(axes, int):
        return jax.tree.map(lambda x: jnp.take(x, 0, axes), args)
    if isinstance(axes, ByName):
        return {name: one_of(args[name], axis) for name, axis in axes.entries}
    return tuple(one_of(part, axis) for part, axis in zip(args, axes, strict=True))

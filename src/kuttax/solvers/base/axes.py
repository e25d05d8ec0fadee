"""Which of the args have a sample axis: an int, None, a tuple of such, or names with such; hashable."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ...errors import UserError


class ByName(NamedTuple):
    """The axes of the entries of a dict: a program's key must be hashable, and a dict is not."""

    entries: tuple[tuple[str, Any], ...]


def checked_axes(axes: Any, args: PyTree, samples: int) -> Any:
    """The axes in their hashable form.

    Args:
        axes: As `args_axes` of `solve`.
        args: What they are of.
        samples: The number of samples.

    Raises:
        UserError: They do not fit `args`, or an axis does not count the samples.
    """
    return _checked(axes, args, samples, "args")


def _checked(axes: Any, args: PyTree, samples: int, name: str) -> Any:
    if axes is None:
        return None
    if isinstance(axes, int | np.integer) and not isinstance(axes, bool):
        for path, leaf in jax.tree_util.tree_leaves_with_path(args):
            _check_counts(int(axes), leaf, samples, name + jax.tree_util.keystr(path))
        return int(axes)
    if isinstance(axes, dict) and isinstance(args, dict) and axes.keys() == args.keys():
        return ByName(tuple((key, _checked(axes[key], args[key], samples, f"{name}[{key!r}]")) for key in sorted(axes)))
    if isinstance(axes, tuple) and isinstance(args, tuple) and len(axes) == len(args):
        return tuple(_checked(axis, args[n], samples, f"{name}[{n}]") for n, axis in enumerate(axes))
    raise UserError(
        "args_axes must be an int, or, if args is a tuple or a dict, a tuple or a dict with an entry for each, "
        f"got {axes!r}" + (f" for {name}" if name != "args" else "")
    )


def _check_counts(axis: int, leaf: Any, samples: int, name: str) -> None:
    """Whether this axis counts the samples."""
    if not eqx.is_array(leaf):
        kind = type(leaf).__name__
        raise UserError(f"args_axes gives {name} a sample axis, but it is no array, got {kind}: say None for it")
    if not -leaf.ndim <= axis < leaf.ndim or leaf.shape[axis] != samples:
        raise UserError(
            f"axis {axis} of {name} must count the {samples} samples, got shape {leaf.shape}: give args_axes another "
            "axis, or None for what all samples share"
        )


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


def parted(args: PyTree, axes: Any) -> tuple[PyTree, PyTree]:
    """What all samples share, and what each has of its own; None stands for the other part.

    The own part is NumPy arrays with the sample axis first. `equinox.combine` joins the two, also for one sample.
    """
    first = lambda x, axis: None if axis is None else np.moveaxis(np.asarray(x), axis, 0)
    per_part = lambda of: jax.tree.map(of, in_axes(axes), args, is_leaf=lambda axis: axis is None)
    shared = per_part(lambda axis, part: part if axis is None else jax.tree.map(lambda _: None, part))
    return shared, per_part(lambda axis, part: jax.tree.map(lambda x: first(x, axis), part))

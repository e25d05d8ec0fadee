"""Knots: the times between which the paths in args are smooth."""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from .errors import UserError


@runtime_checkable
class HasKnots(Protocol):
    """A path that is smooth between its knots: `ZeroOrderHold`, and diffrax's interpolations."""

    @property
    def ts(self) -> Any: ...

    def evaluate(self, t0: Any, /) -> Any: ...


def knots_of(args: Any) -> Any:
    """The knots of all paths in `args`, sorted: (knots,), or (samples, knots) if a path has a row for each sample.

    Raises:
        UserError: There is no path.
    """
    paths = [x for x in jax.tree.leaves(args, is_leaf=_has_knots) if _has_knots(x)]
    if not paths:
        raise UserError(
            "jumps='knots' takes the knots of the paths in args, and there is none: pass kx.ZeroOrderHold(ts, values), "
            "or one of diffrax's interpolations, in args"
        )
    if len(paths) == 1:
        return paths[0].ts
    rows = max((path.ts for path in paths), key=jnp.ndim)
    each = [jnp.broadcast_to(path.ts, (*rows.shape[:-1], path.ts.shape[-1])) for path in paths]
    return jnp.sort(jnp.concatenate(each, axis=-1), axis=-1)  # NaN comes last


def _has_knots(x: Any) -> bool:
    return isinstance(x, HasKnots)

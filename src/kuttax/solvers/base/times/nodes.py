"""Nodes: the times at which a solve with a given number of steps must stop, outputs and jumps together."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np


class Nodes(eqx.Module):
    """The ends of the intervals of a solve.

    Attributes:
        ends: Elapsed times, (intervals, *samples), sorted from t0 on; the last one is t1.
        places: For each output, its place among t0, *ends, (times, *samples); None if there are no outputs.
    """

    ends: Any
    places: Any = None


def known_nodes(ts: np.ndarray | None, jumps: np.ndarray, t1: np.ndarray) -> Nodes:
    """The nodes, each of them once; a sample with fewer than another repeats t1 at its end.

    Args:
        ts: The output times, elapsed, (times, *samples), or None.
        jumps: The times of the jumps, elapsed, (jumps, *samples).
        t1: The end, elapsed.
    """
    parts = [jumps] if ts is None else [ts, jumps]
    lanes = np.broadcast_shapes(*(x.shape[1:] for x in parts), t1.shape)
    way = np.broadcast_to(np.where(t1 >= 0, 1, -1).astype(jumps.dtype), lanes)
    span = np.broadcast_to(np.abs(t1), lanes)
    column = lambda x: np.broadcast_to(x[:, None] if x.ndim == 1 and lanes else x, (len(x), *lanes))
    inside = np.sort(np.concatenate([column(x) for x in parts]) * way, axis=0)
    again = np.concatenate([np.zeros_like(inside[:1], bool), inside[1:] == inside[:-1]])
    inside = np.sort(np.where(again | (inside <= 0) | (inside >= span), span, inside), axis=0)
    count = int(np.max(np.sum(inside < span, axis=0)))
    ends = np.concatenate([inside[:count], span[None]])
    if ts is None:
        return Nodes(ends * way)
    wanted = column(ts) * way
    return Nodes(ends * way, np.where(wanted <= 0, 0, _places(ends, wanted) + 1).astype(np.int32))


def traced_nodes(ts: Any, jumps: Any, t1: Any) -> Nodes:
    """The nodes of times that are known only at run time: all of them, so that some intervals are empty."""
    parts = [jumps] if ts is None else [ts, jumps]
    lanes = jnp.broadcast_shapes(*(x.shape[1:] for x in parts), t1.shape)
    column = lambda x: jnp.broadcast_to(x[:, None] if x.ndim == 1 and lanes else x, (len(x), *lanes))
    inside = jnp.concatenate([column(x) for x in parts])
    span = jnp.broadcast_to(t1, inside.shape)
    way = jnp.where(span >= 0, 1, -1).astype(span.dtype)
    ahead = inside * way
    late = jnp.isnan(ahead) | (ahead >= span * way)
    ahead = jnp.where(late, span * way, jnp.where(ahead <= 0, jnp.zeros_like(ahead), ahead))
    order = jnp.argsort(ahead, axis=0)
    ends = jnp.take_along_axis(ahead, order, axis=0) * way
    ends = jnp.concatenate([ends, jnp.broadcast_to(t1, (1, *lanes))])
    if ts is None:
        return Nodes(ends)
    return Nodes(ends, jnp.argsort(order, axis=0)[: len(ts)] + 1)


def _places(ends: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The place of each wanted time among the ends; one column after another."""
    if ends.ndim == 1:
        return np.searchsorted(ends, wanted)
    columns = [np.searchsorted(a, b) for a, b in zip(ends.T, wanted.T, strict=True)]
    return np.stack(columns, axis=1)

"""Crossing: trajectories that no ODE can have."""

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

_MOST = 64  # samples, all of whose pairs are compared


def chosen(samples: int, key: PRNGKeyArray) -> np.ndarray:
    """The indices of the samples whose trajectories are compared: all, or 64 of them drawn at random."""
    if samples <= _MOST:
        return np.arange(samples)
    return np.asarray(jax.random.choice(key, samples, (_MOST,), replace=False))


def crossing_share(trajectories: Float[np.ndarray, "n times d"]) -> float | None:
    """The share of pairs of trajectories that cross; None in more than two dimensions, or without a pair.

    In one dimension two solutions keep their order for all times, whatever the field: a pair crosses if its order
    changes. In two dimensions the paths of an autonomous field never meet: a pair crosses if segments of the two
    polylines do. If the field depends on time, paths may meet at different times; if the saved times are far apart,
    polylines may cut corners. So compare the share with that of a reference.
    """
    n, times, d = trajectories.shape
    if d not in (1, 2) or n < 2 or times < 2:
        return None
    crosses = _out_of_order(trajectories[..., 0]) if d == 1 else _paths_meet(trajectories)
    return crosses / (n * (n - 1) / 2)


def _out_of_order(y: Float[np.ndarray, "n times"]) -> int:
    """The number of pairs whose order changes."""
    order = np.sign(y[:, None] - y[None])
    return int(np.triu((order * order[..., :1] < 0).any(axis=-1)).sum())


def _paths_meet(y: Float[np.ndarray, "n times 2"]) -> int:
    """The number of pairs whose polylines have segments that cross."""
    return sum(_crosses(y[i], other) for i in range(len(y)) for other in y[i + 1 :])


def _crosses(first: Float[np.ndarray, "a 2"], second: Float[np.ndarray, "b 2"]) -> bool:
    """Whether a segment of one polyline crosses one of the other: the ends of each lie on both sides of the other."""
    p, q, r, s = first[:-1, None], first[1:, None], second[None, :-1], second[None, 1:]
    apart = (_side(p, q, r) * _side(p, q, s) < 0) & (_side(r, s, p) * _side(r, s, q) < 0)
    return bool(apart.any())


def _side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """On which side of the line from a to b the point c lies: the sign of a determinant."""
    u, v = b - a, c - a
    return np.sign(u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0])

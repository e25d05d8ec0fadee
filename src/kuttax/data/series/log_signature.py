"""Log-signatures of depth two: the increment of a path, and the areas that it encloses with its chord."""

import numpy as np
from jaxtyping import Float


def increments(path: Float[np.ndarray, "knots c"], ends: Float[np.ndarray, " n_1"]) -> Float[np.ndarray, "n c"]:
    """X(b) - X(a) of each window [a, b]; see `log_signatures`."""
    return np.diff(at(path, ends), axis=0)


def log_signatures(path: Float[np.ndarray, "knots c"], ends: Float[np.ndarray, " n_1"]) -> Float[np.ndarray, "n f"]:
    """The log-signature of depth two of a piecewise linear path on each window.

    Its first c entries are the increment. The others are, for every two channels i < j, in the order (0, 1), (0, 2),
    ..., the Levy area

        A_ij = 1/2 int (X_i - X_i(a)) dX_j - (X_j - X_j(a)) dX_i

    (Morrill, Salvi, Kidger & Foster, Neural rough differential equations for long time series, ICML 2021, arXiv
    2009.08295). Areas from the start of the path are summed once; with u ^ v = u_i v_j - u_j v_i, those of a window
    follow from Chen's relation, A(0, b) = A(0, a) + A(a, b) + 1/2 (X(a) - X(0)) ^ (X(b) - X(a)).

    Args:
        path: The knots of the path.
        ends: The ends of the windows, increasing, as numbers of knots from 0 on, not necessarily whole.
    """
    steps = _wedge(path[:-1] - path[0], np.diff(path, axis=0)) / 2
    areas = np.concatenate([np.zeros_like(steps[:1]), np.cumsum(steps, axis=0)])
    knot = np.clip(np.floor(ends).astype(int), 0, len(path) - 1)
    here, since = at(path, ends), path[knot] - path[0]
    total = areas[knot] + _wedge(since, here - path[knot]) / 2
    moved = np.diff(here, axis=0)
    within = np.diff(total, axis=0) - _wedge(here[:-1] - path[0], moved) / 2
    return np.concatenate([moved, within], axis=1)


def at(path: Float[np.ndarray, "knots c"], place: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n c"]:
    """The points of a piecewise linear path at these numbers of knots."""
    knots = np.arange(len(path))
    return np.stack([np.interp(place, knots, channel) for channel in path.T], axis=1)


def _wedge(u: Float[np.ndarray, "n c"], v: Float[np.ndarray, "n c"]) -> Float[np.ndarray, "n pairs"]:
    i, j = np.triu_indices(u.shape[1], 1)
    return u[:, i] * v[:, j] - u[:, j] * v[:, i]

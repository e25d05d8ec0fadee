"""Couplings: how noise and samples are paired in flow matching."""

from typing import Literal, get_args

import jax
import numpy as np
import scipy  # which imports each of its parts when it is used
from jaxtyping import Array, Float

Coupling = Literal["independent", "optimal"]
COUPLINGS = get_args(Coupling)


def optimal(noise: Float[Array, "n ..."], x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
    """The noise in the order that minimises the sum over i of |noise_i - x_i|^2.

    The optimal-transport coupling of a minibatch (Tong et al., TMLR 2024, arXiv 2302.00482; Pooladian et al., ICML
    2023). SciPy computes the assignment on the host; n^3 operations.
    """
    order = jax.pure_callback(_assigned, jax.ShapeDtypeStruct((len(x),), np.int32), noise, x)
    return noise[jax.lax.stop_gradient(order)]


def _assigned(noise: np.ndarray, x: np.ndarray) -> np.ndarray:
    """For each sample the index of its noise."""
    a, b = (np.asarray(array, np.float64).reshape(len(array), -1) for array in (x, noise))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):  # no assignment is possible; the loss is then not finite
        return np.arange(len(a), dtype=np.int32)
    cost = np.sum(a**2, axis=1)[:, None] - 2 * a @ b.T + np.sum(b**2, axis=1)[None]
    return scipy.optimize.linear_sum_assignment(cost)[1].astype(np.int32)

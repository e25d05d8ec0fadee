"""Order conditions of Runge–Kutta methods, the projection onto them, and the stability polynomial.

A method has order p if and only if its elementary weight equals 1 / gamma(tree) for every rooted tree of up to p nodes
(Butcher 1963; Hairer, Nørsett & Wanner, "Solving Ordinary Differential Equations I", theorem II.2.13).
"""

import functools
import math
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...errors import UserError
from .tableaus import Tableau

# A rooted tree is the sorted tuple of the subtrees at its root; () is the single node.
Tree = tuple[Any, ...]


@functools.cache
def rooted_trees(nodes: int) -> tuple[Tree, ...]:
    """All rooted trees with this number of nodes, each as the sorted tuple of the subtrees at its root.

    There are 1, 1, 2, 4, 9, 20, 48, 115 trees of 1 to 8 nodes.
    """
    if nodes == 1:
        return ((),)
    return tuple(sorted({grown for tree in rooted_trees(nodes - 1) for grown in _with_leaf(tree)}))


def _with_leaf(tree: Tree) -> list[Tree]:
    """The tree with one more leaf, at any of its nodes."""
    at_root = tuple(sorted((*tree, ())))
    further = [
        tuple(sorted((*tree[:i], grown, *tree[i + 1 :])))
        for i, branch in enumerate(tree)
        for grown in _with_leaf(branch)
    ]
    return [at_root, *further]


def tree_order(tree: Tree) -> int:
    """The number of nodes of a rooted tree."""
    return 1 + sum(tree_order(branch) for branch in tree)


def density(tree: Tree) -> int:
    """gamma(tree): the product over all nodes of the number of nodes in the subtree that starts at that node."""
    return tree_order(tree) * math.prod(density(branch) for branch in tree)


def elementary_weights(a: np.ndarray, c: np.ndarray, order: int) -> np.ndarray:
    r"""Phi of Hairer, Nørsett & Wanner (definition II.2.9), before the sum with the weights b.

    Args:
        a: shape `(s, s)`.
        c: shape `(s,)`.
        order: the largest number of nodes.

    Returns:
        Shape `(q, s)`, one row for each rooted tree: sorted by nodes, then in the order of `rooted_trees`. The method
        with weights `b` satisfies the tree's condition if `row @ b == 1 / density(tree)`.
    """
    a, c = np.asarray(a, dtype=np.float64), np.asarray(c, dtype=np.float64)

    @functools.cache
    def at_stages(tree: Tree) -> np.ndarray:
        factors = [a @ at_stages(branch) if branch else c for branch in tree]
        return np.prod(factors, axis=0) if factors else np.ones(len(c))

    return np.stack([at_stages(tree) for nodes in range(1, order + 1) for tree in rooted_trees(nodes)])


def order_conditions(tableau: Tableau | tuple[np.ndarray, np.ndarray, np.ndarray], order: int) -> np.ndarray:
    """The residuals of all order conditions up to `order`: zero, up to rounding, if the method has that order.

    Args:
        tableau: the tableau, or the arrays `(a, b, c)`.
        order: at least 1. The number of conditions grows fast: 8 for order 4, 200 for order 8, 1205 for order 10.

    Returns:
        Shape `(q,)`: elementary weight minus 1 / density of every rooted tree of up to `order` nodes, in the order of
        `elementary_weights`.

    Raises:
        UserError: `order` is below 1.
    """
    if order < 1:
        raise UserError(f"order must be >= 1, got {order}; every method has order conditions from 1 on")
    a, b, c = (tableau.a, tableau.b, tableau.c) if isinstance(tableau, Tableau) else tableau
    right_side = [1 / density(tree) for nodes in range(1, order + 1) for tree in rooted_trees(nodes)]
    return elementary_weights(a, c, order) @ np.asarray(b, dtype=np.float64) - np.array(right_side)


def condition_rows(
    a: Float[Array | np.ndarray, "s s"], p: int
) -> tuple[Float[Array | np.ndarray, "q s"], Float[Array | np.ndarray, " q"]]:
    """The order conditions up to `p`, linear in the weights: `rows @ b == right_side`, with c = A 1.

    Args:
        a: shape `(s, s)`, NumPy or JAX, traced or not.
        p: 1, 2 or 3, for q = 1, 2 or 4 conditions: {1}, {c}, {c^2, A c} with right sides 1, 1/2, 1/3, 1/6.

    Returns:
        The rows `(q, s)` and the right side `(q,)`, in the kind of array and dtype of `a`.

    Raises:
        UserError: `p` is not 1, 2 or 3, or there are fewer stages than conditions.
    """
    if p not in (1, 2, 3):
        raise UserError(f"p must be 1, 2 or 3, got {p}; from order 4 on the projection is ill-conditioned")
    conditions = (1, 2, 4)[p - 1]
    stages = a.shape[0]
    if stages < conditions:
        raise UserError(f"order {p} is {conditions} conditions, got {stages} stages; take {conditions} stages or more")
    xp: ModuleType = np if isinstance(a, np.ndarray) else jnp
    c = a.sum(axis=1)
    rows = xp.stack([xp.ones_like(c), c, c * c, _times(a, c)][:conditions])
    return rows, xp.array([1, 1 / 2, 1 / 3, 1 / 6][:conditions], dtype=a.dtype)


@functools.partial(jax.jit, static_argnames="p")
def project(
    b0: Float[Array | np.ndarray, " s"], a: Float[Array | np.ndarray, "s s"], p: int
) -> tuple[Float[Array, " s"], Float[Array, ""]]:
    r"""The weights nearest to `b0` that satisfy all order conditions up to `p` for the coefficients `a`.

    $$b = b_0 - M^T (M M^T)^{-1} (M b_0 - r)$$

    with the rows M and right side r of `condition_rows`. Computed from the reduced QR factorisation $M^T = Q R$, as
    $b = b_0 - Q R^{-T} (M b_0 - r)$: the normal equations square the condition number, and lose three digits in
    float32. Differentiable in `b0` and `a`, in forward and reverse mode.

    Args:
        b0: shape `(s,)`.
        a: shape `(s, s)`, of the dtype of `b0`.
        p: 1, 2 or 3, see `condition_rows`.

    Returns:
        The weights `(s,)`, and a scalar estimate of the condition number of M, max |R_ii| / min |R_ii| (a lower bound
        of `condition_number`). If it is infinite or near 1 / epsilon of the dtype, the rows are dependent and the
        weights are meaningless.

    Raises:
        UserError: as `condition_rows`.
    """
    rows, right_side = condition_rows(jnp.asarray(a), p)
    return nearest(jnp.asarray(b0), jnp.asarray(rows), jnp.asarray(right_side))


def nearest(
    b0: Float[Array, " s"], rows: Float[Array, "q s"], right_side: Float[Array, " q"]
) -> tuple[Float[Array, " s"], Float[Array, ""]]:
    """The weights nearest to `b0` with `rows @ b == right_side`, and the estimated condition number (see `project`)."""
    q, r = jnp.linalg.qr(rows.T, mode="reduced")
    diagonal = jnp.abs(jnp.diagonal(r))
    excess = jax.scipy.linalg.solve_triangular(r, _times(rows, b0) - right_side, trans="T")
    return b0 - _times(q, excess), jnp.max(diagonal) / jnp.min(diagonal)


def _times(matrix, vector):
    # Not `@`: by default an accelerator multiplies float32 with about ten bits, and these matrices are tiny.
    return (matrix * vector[None, :]).sum(axis=1)


def condition_number(a: np.ndarray, p: int) -> float:
    """The 2-norm condition number of the rows of `condition_rows`, in float64.

    Args:
        a: shape `(s, s)`.
        p: 1, 2 or 3.

    Raises:
        UserError: as `condition_rows`.
    """
    rows, _ = condition_rows(np.asarray(a, dtype=np.float64), p)
    return float(np.linalg.cond(rows))


def stability_polynomial(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    r"""The coefficients of R(z) = 1 + z b^T (I - z A)^{-1} 1, ascending.

    One step multiplies the solution of y' = lambda y by R(h lambda).

    Args:
        a: shape `(s, s)`, strictly lower triangular.
        b: shape `(s,)`.

    Returns:
        Shape `(s + 1,)`: 1, b·1, b·A1, b·A²1, ... (input for `numpy.polynomial.Polynomial`).
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    power = np.ones(len(b))
    coefficients = [1.0]
    for _ in range(len(b)):
        coefficients.append(float(b @ power))
        power = a @ power
    return np.array(coefficients)

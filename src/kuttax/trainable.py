"""Which leaves of a model and solver are trained, and in which group."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree

from .solvers.base import AbstractSolver
from .solvers.learned import LearnedRK


def _is_solver(node: Any) -> bool:
    return isinstance(node, AbstractSolver)


def trainable(tree: PyTree) -> PyTree[bool]:
    """True at the leaves that training changes, for `eqx.partition(tree, kuttax.trainable(tree))`.

    These are the floating-point arrays, but of solvers only `LearnedRK`'s free parameters: tolerances and classical
    tables are numbers that nobody trains.
    """

    def mark(node: Any) -> PyTree[bool]:
        fixed = _is_solver(node) and not isinstance(node, LearnedRK)
        return jax.tree.map(lambda leaf: not fixed and eqx.is_inexact_array(leaf), node)

    return jax.tree.map(mark, tree, is_leaf=_is_solver)


def labels(tree: PyTree) -> PyTree[str]:
    """ "solver" at every leaf of a solver and "field" at all others, for `optax.multi_transform`."""

    def mark(node: Any) -> PyTree[str]:
        return jax.tree.map(lambda _: "solver" if _is_solver(node) else "field", node)

    return jax.tree.map(mark, tree, is_leaf=_is_solver)

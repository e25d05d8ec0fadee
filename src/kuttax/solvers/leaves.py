"""Which leaves of a model and a solver training changes, and in which group."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree

from .base.solver import AbstractSolver


def _is_solver(node: Any) -> bool:
    return isinstance(node, AbstractSolver)


def trainable(tree: PyTree) -> PyTree[bool]:
    """True at the leaves that training changes, for `eqx.partition(tree, kuttax.solvers.trainable(tree))`.

    These are the floating-point arrays; in solvers only the free parameters of `LearnedRK` and `LearnedSRK`. Tolerances
    and classical tables are not trained.
    """

    return jax.tree.map(_trained_of, tree, is_leaf=_is_solver)


def is_learned(node: Any) -> bool:
    """Whether training changes this part of a solver; pass it as `is_leaf` to find that part inside a wrapper."""
    return _is_solver(node) and node.learned


def _trained_of(node: Any) -> PyTree[bool]:
    """For a solver, the free parameters of its learned part, itself or wrapped; for anything else, its numbers."""
    if not _is_solver(node) or is_learned(node):
        return jax.tree.map(eqx.is_inexact_array, node)
    return jax.tree.map(lambda part: _trained_of(part) if is_learned(part) else False, node, is_leaf=is_learned)


def learns(solver: AbstractSolver) -> bool:
    """Whether training changes anything in this solver."""
    return any(leaf.size for leaf in jax.tree.leaves(eqx.filter(solver, trainable(solver))))


def labels(tree: PyTree) -> PyTree[str]:
    """ "solver" at every leaf of a solver and "field" at all others, for `optax.multi_transform`."""

    def mark(node: Any) -> PyTree[str]:
        return jax.tree.map(lambda _: "solver" if _is_solver(node) else "field", node)

    return jax.tree.map(mark, tree, is_leaf=_is_solver)

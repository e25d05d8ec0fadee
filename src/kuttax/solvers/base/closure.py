"""Closure conversion: what a field closes over becomes part of the problem, so that a custom rule sees it."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .solver import Problem


def converted(problem: Problem) -> Problem:
    """`problem` with its field turned into a module whose leaves are all that the field depends on."""
    y, args = problem.y0, problem.args
    if problem.batched:
        y = jax.tree.map(lambda x: x[0], y)
        args = _one_of(args, problem.args_axes)
    field = eqx.filter_closure_convert(problem.field, problem.t0, y, args)
    return dataclasses.replace(problem, field=field)


def _one_of(args: PyTree, axes: Any) -> PyTree:
    """What `jax.vmap` hands on of `args`, of one sample."""
    if axes is None:
        return args
    if isinstance(axes, int):
        return jax.tree.map(lambda x: jnp.take(x, 0, axes), args)
    return tuple(_one_of(part, axis) for part, axis in zip(args, axes, strict=True))


def parameters(problem: Problem, moved: Problem) -> tuple[PyTree, PyTree]:
    """What is differentiated of the field's own leaves, of args and of the costs of steps, and the rest of these.

    `moved` is shaped like the problem and says of every leaf whether it is differentiated.
    """
    return eqx.partition((problem.field, problem.args, problem.costs), (moved.field, moved.args, moved.costs))


def with_parameters(problem: Problem, varied: PyTree, rest: PyTree) -> Problem:
    """`problem` with the parameters that `parameters` took apart."""
    field, args, costs = eqx.combine(varied, rest)
    return dataclasses.replace(problem, field=field, args=args, costs=costs)


def cotangent(problem: Problem, *, parameters: PyTree, y0: Any, t0: Any, t1: Any, ts: Any) -> Problem:
    """The cotangent of a problem, shaped like it."""
    field, args, costs = parameters
    picks = jax.tree.map(lambda _: None, problem.picks)  # drawn, not differentiated
    ends = {"y0": y0, "t0": t0, "t1": t1, "ts": ts}
    return dataclasses.replace(problem, field=field, args=args, costs=costs, picks=picks, **ends)

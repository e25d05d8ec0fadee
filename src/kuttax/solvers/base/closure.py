"""Closure conversion: values that a field closes over become part of the problem, so that a custom rule sees them."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from .axes import one_of
from .fields.traced import traced
from .problem import Problem


def with_traced_field(problem: Problem) -> Problem:
    """`problem` with its field, or drift and diffusion, traced."""
    of_one = _of_one_sample(problem)
    fields = jax.tree.map(lambda function: traced(function, *of_one), problem.field, is_leaf=callable)
    return dataclasses.replace(problem, field=fields)


def converted(problem: Problem) -> Problem:
    """`problem` with its field as a module whose leaves are all values that the field depends on.

    The conditions of its events become such modules too, constant under differentiation: the derivative of an event
    comes from its condition after the solve.
    """
    of_one = _of_one_sample(problem)
    events = [dataclasses.replace(event, condition=traced(event.condition, *of_one)) for event in problem.events]
    events = jax.tree.map(lambda x: jax.lax.stop_gradient(x) if eqx.is_inexact_array(x) else x, tuple(events))
    return dataclasses.replace(with_traced_field(problem), events=events)


def _of_one_sample(problem: Problem) -> tuple[Array, Any, Any]:
    """The arguments (t, y, args) of the field, as shapes and dtypes go."""
    y, args = problem.y0, problem.args
    if problem.batched:
        y = jax.tree.map(lambda x: x[0], y)
        args = one_of(args, problem.args_axes)
    return jnp.zeros((), jax.tree.leaves(y)[0].dtype), y, args


def parameters(problem: Problem, moved: Problem) -> tuple[PyTree, PyTree]:
    """The differentiated and the other leaves of the field, of args and of the costs of steps.

    `moved` has the shape of the problem and says for every leaf whether it is differentiated.
    """
    return eqx.partition((problem.field, problem.args, problem.costs), (moved.field, moved.args, moved.costs))


def with_parameters(problem: Problem, varied: PyTree, rest: PyTree) -> Problem:
    """`problem` with the two parts that `parameters` returned."""
    field, args, costs = eqx.combine(varied, rest)
    return dataclasses.replace(problem, field=field, args=args, costs=costs)


def cotangent(
    problem: Problem, *, parameters: PyTree, y0: Any, t0: Any, t1: Any, ts: Any, jumps: Any = None
) -> Problem:
    """The cotangent of a problem, with the problem's structure."""
    field, args, costs = parameters
    nothing = lambda tree: jax.tree.map(lambda _: None, tree)
    constants = {name: nothing(getattr(problem, name)) for name in ("picks", "clock", "known_nodes", "events")}
    ends = {"y0": y0, "t0": t0, "t1": t1, "ts": ts, "jumps": jumps}
    return dataclasses.replace(problem, field=field, args=args, costs=costs, **constants, **ends)

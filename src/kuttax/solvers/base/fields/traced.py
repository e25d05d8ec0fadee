"""TracedField: a vector field as a program, traced once and evaluated any number of times."""

from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Primitive, jaxpr_as_fun
from jaxtyping import Array

from .convolution import fast_convolution, with_fast_convolutions


class TracedField(eqx.Module):
    """A function of (t, y, args), traced for given shapes and dtypes: the Python function is not called again.

    A solve evaluates its field at many places of its program. Each evaluation is one call of the same compiled
    function, which JAX differentiates, maps and lowers once.

    Attributes:
        values: What the function closes over, its leaves.
        operations: The number of operations of one evaluation: the size of its program.
        convolves: Whether a convolution is among them.
        run: The compiled function of the values and the leaves of (t, y, args).
        takes, gives: The structures of (t, y, args) and of the slope.
    """

    values: list[Array]
    operations: int = eqx.field(static=True)
    convolves: bool = eqx.field(static=True)
    run: Callable[..., list[Array]] = eqx.field(static=True)
    takes: Any = eqx.field(static=True)
    gives: Any = eqx.field(static=True)

    def __call__(self, t: Any, y: Any, args: Any) -> Any:
        given = eqx.filter((t, y, args), eqx.is_array)
        assert jax.tree.structure(given) == self.takes, "a traced field was called with arguments of another structure"
        return jax.tree.unflatten(self.gives, self.run(self.values, jax.tree.leaves(given)))


def traced(function: Any, t: Any, y: Any, args: Any) -> TracedField:
    """`function` of (t, y, args) as a program, traced for arguments like these. What is traced already stays so.

    Arguments that are not arrays are constants of the program.
    """
    if isinstance(function, TracedField):
        return function
    arrays, constants = eqx.partition((t, y, args), eqx.is_array)
    leaves, takes = jax.tree.flatten(arrays)

    def of_leaves(*leaves: Array) -> Any:
        return function(*eqx.combine(jax.tree.unflatten(takes, leaves), constants))

    program, shape = jax.make_jaxpr(of_leaves, return_shape=True)(*leaves)
    program = with_fast_convolutions(program)

    def field(values: list[Array], leaves: list[Array]) -> list[Array]:
        return jaxpr_as_fun(ClosedJaxpr(program.jaxpr, values))(*leaves)

    values = [jnp.asarray(x) for x in program.consts]
    operations = list(_operations(program.jaxpr))
    convolves = fast_convolution in operations
    return TracedField(values, len(operations), convolves, jax.jit(field), takes, jax.tree.structure(shape))


def _operations(program: Jaxpr) -> Iterator[Primitive]:
    """The operations of a program; in place of one that has programs inside of it, theirs."""
    for equation in program.eqns:
        inside = [one for parameter in equation.params.values() for one in _programs(parameter)]
        yield from (x for one in inside for x in _operations(one)) if inside else (equation.primitive,)


def _programs(parameter: Any) -> Iterator[Jaxpr]:
    if isinstance(parameter, ClosedJaxpr):
        yield parameter.jaxpr
    elif isinstance(parameter, Jaxpr):
        yield parameter
    elif isinstance(parameter, tuple | list):
        for one in parameter:
            yield from _programs(one)

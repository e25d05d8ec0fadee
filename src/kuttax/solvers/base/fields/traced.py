"""TracedField: a vector field as a program, traced once and evaluated any number of times."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun
from jaxtyping import Array

from .convolution import with_fast_convolutions


class TracedField(eqx.Module):
    """A function of (t, y, args), traced for given shapes and dtypes: the Python function is not called again.

    A solve evaluates its field at many places of its program. Each evaluation is one call of the same compiled
    function, which JAX differentiates, maps and lowers once.

    Attributes:
        values: What the function closes over, its leaves.
        operations: The number of operations of one evaluation: the size of its program.
        run: The compiled function of the values and the leaves of (t, y, args).
        takes, gives: The structures of (t, y, args) and of the slope.
    """

    values: list[Array]
    operations: int = eqx.field(static=True)
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
    return TracedField(values, _operations(program.jaxpr), jax.jit(field), takes, jax.tree.structure(shape))


def _operations(program: Jaxpr) -> int:
    """The number of operations of a program, those of the programs inside of it among them."""

    def inside(parameter: Any) -> int:
        if isinstance(parameter, ClosedJaxpr):
            return _operations(parameter.jaxpr)
        if isinstance(parameter, Jaxpr):
            return _operations(parameter)
        return sum(map(inside, parameter)) if isinstance(parameter, tuple | list) else 0

    return sum(max(1, sum(map(inside, equation.params.values()))) for equation in program.eqns)

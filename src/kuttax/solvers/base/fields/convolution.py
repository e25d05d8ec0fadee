"""Convolutions that are fast inside of a solver's loop on a CPU: the same operation with channels last.

XLA's CPU backend has a fast convolution for arrays whose channels come last. It rearranges others for it, but only
outside of loops. In a loop a convolution with channels first, as in `equinox.nn.Conv2d`, takes a slow path: it is five
to ten times slower with its gradient. Here the arrays are rearranged explicitly, in derivatives too. On other devices
nothing changes.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import ClosedJaxpr, Jaxpr, Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array


def with_fast_convolutions(program: Any) -> Any:
    """A program (a jaxpr) with the fast convolution in place of every convolution.

    The rules of functions with derivatives of their own are left as they are.
    """
    if isinstance(program, ClosedJaxpr):
        return program.replace(jaxpr=with_fast_convolutions(program.jaxpr))
    if isinstance(program, Jaxpr):
        return program.replace(eqns=[_fast(equation) for equation in program.eqns])
    if type(program) is tuple:
        return tuple(map(with_fast_convolutions, program))
    return program


def _fast(equation: Any) -> Any:
    if equation.primitive is lax.conv_general_dilated_p:
        return equation.replace(primitive=fast_convolution)
    return equation.replace(params={name: with_fast_convolutions(x) for name, x in equation.params.items()})


fast_convolution = Primitive("fast_convolution")
"""`lax.conv_general_dilated_p` with another program on CPUs."""


def _convolve(x: Array, kernel: Array, **parameters: Any) -> Array:
    return lax.conv_general_dilated_p.bind(x, kernel, **parameters)


def _channels_last(x: Array, kernel: Array, *, dimension_numbers: Any, **parameters: Any) -> Array:
    """The convolution with its arrays as (batch, *space, channels) and its kernel as (*space, inputs, outputs)."""
    of_x, of_kernel, of_result = dimension_numbers
    batch, channels, *space = of_x
    outputs, inputs, *window = of_kernel
    x, kernel = jnp.transpose(x, (batch, *space, channels)), jnp.transpose(kernel, (*window, inputs, outputs))
    last = x.ndim - 1
    image = (0, last, *range(1, last))
    numbers = lax.ConvDimensionNumbers(image, (last, last - 1, *range(last - 1)), image)
    result = _convolve(x, kernel, dimension_numbers=numbers, **parameters)
    batch, channels, *space = of_result
    places = {batch: 0, channels: last} | {axis: n for n, axis in enumerate(space, start=1)}
    return jnp.transpose(result, [places[axis] for axis in range(x.ndim)])


def _abstract(x: Any, kernel: Any, **parameters: Any) -> ShapedArray:
    like = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)
    result = jax.eval_shape(lambda x, kernel: _convolve(x, kernel, **parameters), like(x), like(kernel))
    return ShapedArray(result.shape, result.dtype)


def _rewritten(function: Any, *arguments: Any) -> Array:
    """The one result of a function, with the fast convolution in it."""
    program = with_fast_convolutions(jax.make_jaxpr(function)(*arguments))
    return jaxpr_as_fun(program)(*arguments)[0]


def _transposed(convolve: Any, operand: Any) -> Any:
    """The transpose of a convolution that is linear in `operand`."""
    like = jax.ShapeDtypeStruct(operand.aval.shape, operand.aval.dtype)
    return lambda cotangent: jax.linear_transpose(convolve, like)(cotangent)[0]


def _in_image(cotangent: Any, x: Any, kernel: Any, **parameters: Any) -> Array:
    return _rewritten(_transposed(lambda x: _convolve(x, kernel, **parameters), x), cotangent)


def _in_kernel(cotangent: Any, x: Any, kernel: Any, **parameters: Any) -> Array:
    return _rewritten(_transposed(lambda kernel: _convolve(x, kernel, **parameters), kernel), cotangent)


def _mapped(arguments: Any, axes: Any, **parameters: Any) -> tuple[Array, int]:
    mapped = jax.vmap(lambda x, kernel: _convolve(x, kernel, **parameters), in_axes=tuple(axes))
    return _rewritten(mapped, *arguments), 0


fast_convolution.def_impl(_convolve)
fast_convolution.def_abstract_eval(_abstract)
ad.defbilinear(fast_convolution, _in_image, _in_kernel)
batching.primitive_batchers[fast_convolution] = _mapped
mlir.register_lowering(fast_convolution, mlir.lower_fun(_convolve, multiple_results=False))
mlir.register_lowering(fast_convolution, mlir.lower_fun(_channels_last, multiple_results=False), platform="cpu")

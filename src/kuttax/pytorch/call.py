"""A call of a PyTorch function in a JAX program: its derivatives and its batches are calls of that function too.

Three operations: the value, its derivative along tangents, and that along cotangents. `jax.vmap` adds the rows of one
call, however many times it is applied. Each runs on the host when the program does.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

from ..errors import UserError
from .host import SHARED, Asked, Call, Host


def torch_call(host: Host, inputs: Any, constants: Any, like: Any) -> list[Array]:
    """The leaves of `host.function(t, y, **args)`.

    Args:
        host: The function.
        inputs: (t, y, args), with None in place of what is no array.
        constants: What is no array, with None in place of the others.
        like: A pytree with the structure and dtypes of the result.
    """
    leaves, structure = jax.tree.flatten(inputs)
    states = jax.tree.leaves(like)
    call = Call(host, structure, constants, len(states), tuple(np.dtype(x.dtype) for x in states))
    none = (False,) * len(leaves)
    return _VALUE.bind(*leaves, how=_How(call=call, kind="value", mapped=none, led=none))


@dataclass(frozen=True, kw_only=True)
class _How(Asked):
    """The parameters of an operation: what is asked of a call, and the call.

    The axes of an operand are (directions, rows, ...), as far as it has them.
    """

    call: Call

    def of_rows(self, n: int) -> bool:
        """Whether the cotangent of input n has rows."""
        return self.rows is not None and self.call.by_row(n, self.mapped)


def _results(*operands: Any, how: _How) -> list[ShapedArray]:
    """Shapes and dtypes."""
    inner = lambda n: operands[n].shape[how.mapped[n] :]
    size = lambda count, there=True: () if count is None or not there else (count,)
    if how.kind == "cotangent":
        shape = lambda n: (*size(how.directions), *size(how.rows, how.of_rows(n)), *inner(n))
        return [ShapedArray(shape(n), operands[n].dtype) for n in how.wrt]
    first = (*size(how.directions), *size(how.rows))
    return [ShapedArray((*first, *inner(n)), dtype) for n, dtype in enumerate(how.call.dtypes, start=1)]


def _operation(name: str) -> Primitive:
    made = Primitive(name)
    made.multiple_results = True
    made.def_abstract_eval(_results)
    made.def_impl(jax.jit(made.bind, static_argnames="how"))
    batching.primitive_batchers[made] = functools.partial(_batched, made)
    mlir.register_lowering(made, mlir.lower_fun(_run, multiple_results=True))
    return made


def _run(*operands: Any, how: _How) -> list[Array]:
    """The results from the host."""
    results = _results(*operands, how=how)
    found = _ON_HOST.bind(*operands, how=how)
    return [
        lax.bitcast_convert_type(x, to.dtype) if x.dtype != to.dtype else x
        for x, to in zip(found, results, strict=True)
    ]


def _as_words(result: ShapedArray) -> ShapedArray:
    """A result of 64 bits as pairs of 32: in the thread that calls the host, JAX may not know of 64."""
    wide = result.dtype.itemsize == 8
    return ShapedArray((*result.shape, 2), np.dtype(np.uint32)) if wide else result


def _called(context: Any, *operands: Any, how: _How) -> Any:
    """A call of the host: with NumPy arrays, and without JAX, whose functions may wait for the thread that calls."""

    def host(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        found = how.call.run(how, arrays)
        shaped = zip(found, context.avals_out, strict=True)
        return tuple(x if x.dtype == to.dtype else x.reshape(-1).view(to.dtype).reshape(to.shape) for x, to in shaped)

    results, _, _ = mlir.emit_python_callback(
        context, host, None, operands, context.avals_in, context.avals_out, has_side_effect=False
    )
    return results


_ON_HOST = Primitive("torch_on_host")
_ON_HOST.multiple_results = True
_ON_HOST.def_abstract_eval(lambda *operands, how: [_as_words(x) for x in _results(*operands, how=how)])
mlir.register_lowering(_ON_HOST, _called)


def _batched(operation: Primitive, operands: Sequence[Any], axes: Sequence[Any], *, how: _How) -> tuple[Any, Any]:
    """The same operation with more rows; with more directions, if the inputs have no axis."""
    size = next(x.shape[axis] for x, axis in zip(operands, axes, strict=True) if axis is not None)
    more = lambda flags: tuple(axis is not None or has for axis, has in zip(axes, flags, strict=True))
    if all(axis is None for axis in axes[: how.call.inputs]):
        already, flags, places = how.directions, how.led, [0] * len(axes)
        grows = replace(how, led=more(flags), directions=size * (already or 1))
    else:
        already, flags, places = how.rows, how.mapped, [int(led) for led in how.led]
        grows = replace(how, mapped=more(flags), rows=size * (already or 1))
        if how.kind == "cotangent" and not all(grows.of_rows(n) for n in how.wrt):
            raise UserError(SHARED)
    given = zip(operands, axes, places, flags, strict=True)
    results = operation.bind(*(_grown(x, axis, place, has, size, already) for x, axis, place, has in given), how=grows)
    place = int(grows.directions is not None and grows.rows != how.rows)
    if already is not None:
        results = [x.reshape(*x.shape[:place], size, already, *x.shape[place + 1 :]) for x in results]
    return results, [place] * len(results)


def _grown(x: Any, axis: int | None, place: int, has: bool, size: int, already: int | None) -> Array:
    """An operand with the axis of a batch merged into its own axis at `place`, if it has either.

    Args:
        x: The operand.
        axis: The axis of the batch; None if it has none.
        place: Where rows, or directions, are.
        has: Whether the operand has them.
        size: The size of the batch.
        already: The number of rows, or directions; None without.
    """
    if axis is None and not has:
        return x
    spread = lambda x, at, n: jnp.broadcast_to(jnp.expand_dims(x, at), (*x.shape[:at], n, *x.shape[at:]))
    x = spread(x, place, size) if axis is None else jnp.moveaxis(x, axis, place)
    if already is None:
        return x
    x = x if has else spread(x, place + 1, already)
    return x.reshape(*x.shape[:place], size * already, *x.shape[place + 2 :])


def _differentiated(primals: Any, tangents: Any, *, how: _How) -> tuple[Any, Any]:
    """The value and its derivative along tangents."""
    values = _VALUE.bind(*primals, how=how)
    wrt = tuple(
        n for n, (x, t) in enumerate(zip(primals, tangents, strict=True))
        if not isinstance(t, ad.Zero) and jnp.issubdtype(x.dtype, jnp.floating)
    )  # fmt: skip
    if not wrt:
        return values, [jnp.zeros_like(x) for x in values]
    along = replace(
        how, kind="tangent", wrt=wrt, led=(*how.led, *[False] * len(wrt)),
        mapped=(*how.mapped, *(how.mapped[n] for n in wrt)),
    )  # fmt: skip
    return values, _TANGENT.bind(*primals, *(tangents[n] for n in wrt), how=along)


def _transposed(cotangents: Any, *operands: Any, how: _How) -> list[Any]:
    """The cotangents of the tangents."""
    n, along = how.call.inputs, how.directions is not None
    given = [_zeros(x) if isinstance(x, ad.Zero) else x for x in cotangents]
    back = replace(
        how, kind="cotangent", led=(*how.led[:n], *[along] * len(given)),
        mapped=(*how.mapped[:n], *[how.rows is not None] * len(given)),
    )  # fmt: skip
    found = _COTANGENT.bind(*operands[:n], *given, how=back)
    results: list[Any] = [None] * n
    for x, k, mapped, led, to in zip(found, how.wrt, how.mapped[n:], how.led[n:], operands[n:], strict=True):
        axes = (*[0] * (along and not led), *[int(along)] * (back.of_rows(k) and not mapped))
        results.append(x.sum(axes) if ad.is_undefined_primal(to) else None)
    return results


def _zeros(zero: Any) -> Array:
    return jnp.zeros(zero.aval.shape, zero.aval.dtype)


def _once(*_: Any, **__: Any) -> Any:
    raise UserError("a PyTorch field has no second derivatives in kuttax: write it in JAX if you need them")


_VALUE, _TANGENT, _COTANGENT = map(_operation, ("torch_value", "torch_tangent", "torch_cotangent"))
ad.primitive_jvps[_VALUE] = _differentiated
ad.primitive_jvps[_TANGENT] = ad.primitive_jvps[_COTANGENT] = _once
ad.primitive_transposes[_TANGENT] = _transposed

"""to_stablehlo: a function with its solves as a program that JAX runs without kuttax."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import equinox as eqx
import jax
from jax import export

from ..arrays import as_jax
from ..errors import UserError
from ..kinds import check_callable

Platform = Literal["cpu", "cuda", "rocm", "tpu"]


def to_stablehlo(
    function: Callable[..., Any], *like: Any, batched: bool = True, platforms: Sequence[Platform] = ("cpu",)
) -> bytes:
    """A function of arrays as a StableHLO program in the format of `jax.export`: weights and solver are inside.

    A program without kuttax runs it with `jax.export.deserialize(data).call(...)`; it needs jax and flatbuffers. JAX
    keeps such programs readable for six months after a release.

    Args:
        function: It returns arrays, in tuples, lists or dicts. Solves inside need `throw=False`.
        like: Its arguments, for their shapes and dtypes: arrays, or `jax.ShapeDtypeStruct`s, in tuples, lists or dicts.
        batched: The leading axis of every argument counts samples, and the program takes any number of them.
        platforms: The devices that the program is for.

    Raises:
        UserError: A solve inside may raise an error, or calls Python; a platform is unknown; the number of samples must
            be known.
    """
    check_callable("function", function, "arrays")
    if not all(isinstance(x, jax.ShapeDtypeStruct) or eqx.is_array_like(x) for x in jax.tree.leaves(as_jax(like))):
        raise UserError("the arguments after the function must be arrays, or jax.ShapeDtypeStruct(shape, dtype)")
    if unknown := set(platforms) - set(get_args(Platform)):
        raise UserError(f"unknown platform {unknown.pop()!r}; known: {', '.join(get_args(Platform))}")
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), as_jax(like))
    if batched:
        if any(not x.shape for x in jax.tree.leaves(shapes)):
            raise UserError("an argument is a single number, without samples: give batched=False")
        (samples,) = export.symbolic_shape("samples")
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct((samples, *x.shape[1:]), x.dtype), shapes)
    try:
        return bytes(export.export(jax.jit(function), platforms=tuple(platforms))(*shapes).serialize())
    except (NotImplementedError, ValueError, RuntimeError) as error:
        if "callback" in str(error) or "bad_cast" in str(error):  # XLA's, of a callback with a symbolic shape
            raise UserError(
                "a solve inside the function calls Python, which a program without it cannot: pass throw=False to "
                "kx.solve, and use a solver of kuttax and a field in JAX"
            ) from None
        raise UserError(f"the function cannot be exported: {str(error).splitlines()[0]}") from error
    except jax.errors.InconclusiveDimensionOperation as error:
        said = str(error).splitlines()[0]
        raise UserError(f"the function must know the number of samples ({said}): give batched=False") from None

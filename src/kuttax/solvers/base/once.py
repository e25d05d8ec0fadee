"""A reverse mode that works once: a second reverse mode over it raises an error with the fix."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import equinox as eqx
import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import PyTree

from ...errors import UserError

_ENOUGH = "with max_steps near what the solve needs"


def once(tree: PyTree) -> PyTree:
    """`tree`, the result of a loop of unknown length: forward mode can differentiate it, reverse mode cannot.

    Raises:
        UserError: While a reverse mode over it is traced.
    """
    return jax.tree.map(lambda x: _once.bind(x) if eqx.is_inexact_array(x) else x, tree)


def reverse_once(tree: PyTree) -> PyTree:
    """`tree`, whose cotangents come from a custom reverse mode, which reverse mode cannot differentiate again.

    Raises:
        UserError: While a reverse mode over that reverse mode is traced.
    """
    return jax.tree.map(lambda x: _reverse_once(x) if eqx.is_inexact_array(x) else x, tree)


@jax.custom_vjp
def _reverse_once(x: Any) -> Any:
    return x


_reverse_once.defvjp(lambda x: (x, None), lambda _, cotangent: (_once.bind(cotangent),))


def _refuse(cotangent: Any, x: Any) -> Any:
    raise UserError(
        f"this adjoint cannot be differentiated twice in reverse mode: use adjoint=kx.ForwardMode(), {_ENOUGH}; "
        "or, unless the solver is FromDiffrax, jax.hessian (forward over reverse)"
    )


# The identity: linear, so that forward mode passes through it; its transpose raises.
_once = Primitive("once")
_once.def_impl(lambda x: x)
_once.def_abstract_eval(lambda x: x)
ad.deflinear2(_once, _refuse)
batching.defvectorized(_once)
mlir.register_lowering(_once, lambda context, x: [x])


@contextmanager
def naming_the_adjoint() -> Iterator[None]:
    """Replace JAX's error about forward mode by one that names the adjoint that supports it.

    Raises:
        UserError: JAX refused.
    """
    try:
        yield
    except TypeError as error:
        if "custom_vjp" not in str(error):
            raise
        raise UserError(
            f"this adjoint has no forward mode: for jax.jvp and jax.jacfwd use adjoint=kx.ForwardMode(), {_ENOUGH}"
        ) from None

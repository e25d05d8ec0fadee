"""A reverse mode that can be used once: a second one over it is refused in words that say what to do."""

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
    """`tree`, which forward mode may differentiate and reverse mode may not: a loop of unknown length made it.

    Raises:
        UserError: While a reverse mode over it is traced.
    """
    return jax.tree.map(lambda x: _once.bind(x) if eqx.is_inexact_array(x) else x, tree)


def reverse_once(tree: PyTree) -> PyTree:
    """`tree`, whose cotangents come from somebody else's reverse mode, which may not be differentiated in reverse mode.

    Raises:
        UserError: While a reverse mode over that one is traced.
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


# The identity: linear, so that forward mode passes through it, with a transpose that refuses.
_once = Primitive("once")
_once.def_impl(lambda x: x)
_once.def_abstract_eval(lambda x: x)
ad.deflinear2(_once, _refuse)
batching.defvectorized(_once)
mlir.register_lowering(_once, lambda context, x: [x])


@contextmanager
def naming_the_adjoint() -> Iterator[None]:
    """JAX's refusal of forward mode, in words that name the adjoint which has it.

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

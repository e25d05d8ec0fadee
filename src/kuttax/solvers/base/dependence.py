"""Whether a function's value depends on its argument."""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import Literal


def depends(function: Callable[[Any], Any], x: Any) -> bool:
    """Whether x enters what `function` computes, be it as zero times x."""
    program = jax.make_jaxpr(function)(x).jaxpr
    reached = set(program.invars)
    for equation in program.eqns:
        if any(x in reached for x in equation.invars if not isinstance(x, Literal)):
            reached.update(equation.outvars)
    return any(x in reached for x in program.outvars if not isinstance(x, Literal))

"""Memory: what the reverse pass of a fixed-step solve finds stored, and what it computes again."""

from collections.abc import Callable
from typing import Any, Literal

import jax

from ..._types import State

Memory = Literal["stages", "products", "steps"]
"""What a reverse pass finds stored: all that every evaluation of the field left; the state at each step, and those
matrix products and convolutions inside the field that are small beside it; the state at each step alone."""

_SMALL = 1 / 4  # of the state's size: what a field's narrow layers give back


def remembering(step: Callable[..., Any], memory: Memory, y: State) -> Callable[..., Any]:
    """`step`, the body of a scan from states like `y`, so that its reverse pass keeps what `memory` says.

    A product costs most of a field's time, and one that is small beside the state next to no memory: keeping those
    spares a reverse pass half of its second evaluation where a wide state passes through a narrow layer.
    """
    if memory == "stages":
        return step
    largest = _SMALL * sum(leaf.size for leaf in jax.tree.leaves(y))

    def is_small_product(primitive, *operands, **parameters) -> bool:
        if primitive.name not in ("dot_general", "conv_general_dilated"):
            return False
        return jax.eval_shape(lambda *x: primitive.bind(*x, **parameters), *operands).size <= largest

    policy = is_small_product if memory == "products" else None
    return jax.checkpoint(step, prevent_cse=False, policy=policy)  # a scan's body: nothing to be merged with

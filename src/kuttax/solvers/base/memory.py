"""Memory: what a fixed-step solve stores for its reverse pass, and what the reverse pass recomputes."""

from collections.abc import Callable
from typing import Any, Literal

import jax

from ..._types import State

Memory = Literal["stages", "products", "steps"]
"""What a solve stores for its reverse pass. "stages": all intermediate values of every evaluation; "products": the
state at each step, and small matrix products and convolutions inside the field; "steps": the state at each step."""

_SMALL = 1 / 4  # of the state's size: outputs of a field's narrow layers


def remembering(step: Callable[..., Any], memory: Memory, y: State) -> Callable[..., Any]:
    """`step`, the body of a scan from states like `y`, whose reverse pass stores what `memory` says.

    A product costs most of a field's time; one that is small beside the state needs almost no memory. If a wide state
    passes through a narrow layer, storing the product saves half of the recomputation in the reverse pass.
    """
    if memory == "stages":
        return step
    largest = _SMALL * sum(leaf.size for leaf in jax.tree.leaves(y))

    def is_small_product(primitive, *operands, **parameters) -> bool:
        if primitive.name not in ("dot_general", "conv_general_dilated", "fast_convolution"):
            return False
        return jax.eval_shape(lambda *x: primitive.bind(*x, **parameters), *operands).size <= largest

    policy = is_small_product if memory == "products" else None
    return jax.checkpoint(step, prevent_cse=False, policy=policy)  # in a scan's body there is nothing to merge with

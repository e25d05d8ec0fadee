"""Memory: what a fixed-step solve stores for its reverse pass, and what the reverse pass recomputes."""

from collections.abc import Callable
from typing import Any, Literal

import jax

from ..._types import State

Memory = Literal["stages", "products", "steps"]
"""What a solve stores for its reverse pass. "stages": all intermediate values of every evaluation; "products": the
state at each step, and small matrix products and convolutions inside the field; "steps": the state at each step."""

_SMALL = 1 / 4  # of the state's size: outputs of a field's narrow layers


def remembering(
    step: Callable[..., Any], memory: Memory | Literal["default"], y: State, *, in_loop: bool = True
) -> Callable[..., Any]:
    """`step`, from states like `y`, the body of a scan if `in_loop`, whose reverse pass stores what `memory` says.

    By default these are small products in a loop, and everything outside of one, where storing costs nothing.

    A product costs most of a field's time; one that is small beside the state needs almost no memory. If a wide state
    passes through a narrow layer, storing the product saves half of the recomputation in the reverse pass.
    """
    if memory == "default":
        memory = "products" if in_loop else "stages"
    if memory == "stages":
        return step
    largest = _SMALL * sum(leaf.size for leaf in jax.tree.leaves(y))

    def is_small_product(primitive, *operands, **parameters) -> bool:
        if primitive.name not in ("dot_general", "conv_general_dilated", "fast_convolution"):
            return False
        return jax.eval_shape(lambda *x: primitive.bind(*x, **parameters), *operands).size <= largest

    policy = is_small_product if memory == "products" else None
    # In a scan's body there is nothing that XLA could merge what is computed again with.
    return jax.checkpoint(step, prevent_cse=not in_loop, policy=policy)

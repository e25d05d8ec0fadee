"""What PyTorch would not say: derivatives that are lost, noise, and samples that depend on each other.

Each is looked for once for each field, before its first derivative. They would be wrong numbers otherwise.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import UserError
from .imported import imported

_NOISE = 1e-3  # of the largest slope: rounding is far below, dropout far above
_MOVE = 1e-2  # of a state, to see whether the slope follows

Slope = Callable[[Sequence[Any]], tuple[Any, ...]]
"""The leaves of a slope, from the inputs of a call."""


def refuse_unfit(name: str, slope: Slope, inputs: Sequence[Any], states: Sequence[int]) -> None:
    """Refuse a function whose derivatives PyTorch would compute without an error, and wrongly.

    Args:
        name: The function's name.
        slope: Its value.
        inputs: Tensors.
        states: Which of them are the state.

    Raises:
        UserError: It gives two results for the same inputs, or hides from PyTorch that they depend on the state.
    """
    torch = imported()
    with torch.no_grad():
        value = slope(inputs)
        if differ(value, slope(inputs), _NOISE):
            raise UserError(
                f"{name} gives two results for the same inputs, so it has no derivative: switch off its noise; for "
                "dropout and batch normalisation, call module.eval()"
            )
    with torch.enable_grad():
        led = _with(inputs, states, lambda x: x.detach().clone().requires_grad_())
        followed = [x.sum() for x in slope(led) if x.requires_grad]  # perhaps only because of the weights
        given = [x for x in led if x.requires_grad]
        if followed and any(x is not None for x in torch.autograd.grad(followed, given, allow_unused=True)):
            return
    with torch.no_grad():
        moved = slope(_with(inputs, states, lambda x: x + _MOVE * (1 + x.abs())))
    if differ(value, moved, 0.0):
        raise UserError(
            f"PyTorch cannot follow the derivative of {name}: take torch.no_grad, torch.inference_mode and detach() "
            "out of it, and use torch.func.grad in the place of torch.autograd.grad"
        )


def refuse_coupled(name: str, whole: Sequence[Any], part: Sequence[Any], rows: int) -> None:
    """Refuse a function whose samples depend on each other, where derivatives are computed in pieces.

    Args:
        name: The function's name.
        whole: Its value for all samples.
        part: Its value for the first of them alone.
        rows: The number of all samples.

    Raises:
        UserError: They differ.
    """
    if differ([x[: len(y)] for x, y in zip(whole, part, strict=True)], part, _NOISE):
        raise UserError(
            f"the samples of {name} depend on each other (through batch statistics?), and derivatives are computed for "
            f"a part of them at a time: pass rows={rows} or more to kx.from_torch"
        )


def differ(ones: Sequence[Any], others: Sequence[Any], share: float) -> bool:
    """Whether tensors differ by more than this share of the largest entry."""
    return any(
        bool((one - other).abs().max() > share * one.abs().max())
        for one, other in zip(ones, others, strict=True)
        if one.numel()
    )


def _with(inputs: Sequence[Any], chosen: Sequence[int], change: Callable[[Any], Any]) -> list[Any]:
    """The inputs, some of them changed."""
    return [change(x) if n in chosen and x.is_floating_point() else x for n, x in enumerate(inputs)]

"""Blueprints: the named weights that each field is made of, in the order in which they are drawn. NumPy only.

Every library reads the same names, so that its field is the same function.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

NORM_GROUPS = 8
"""Groups of every group norm."""
HEADS = 4
"""Heads of every attention."""
FREQUENCIES = tuple(np.geomspace(1.0, 10.0, 16).tolist())
"""The time t enters as sin(f t) and cos(f t) of these frequencies f."""


@dataclass(frozen=True)
class Weight:
    """One array of weights: normal numbers.

    Attributes:
        name: Layer and role, "middle0.conv0.weight".
        shape: Its shape.
        scale: Their standard deviation.
        mean: Their mean.
    """

    name: str
    shape: tuple[int, ...]
    scale: float
    mean: float = 0.0


def mlp(sizes: Sequence[int], gain: float) -> list[Weight]:
    """Dense layers, the time as one more feature of every layer's input."""
    layers = enumerate(pairwise(sizes))
    return [weight for i, (inputs, outputs) in layers for weight in _dense(str(i), inputs + 1, outputs, gain)]


def conv(sizes: Sequence[int], gain: float) -> list[Weight]:
    """Convolutions of 3x3, the time as one more channel of every layer's input."""
    layers = enumerate(pairwise(sizes))
    return [weight for i, (inputs, outputs) in layers for weight in _convolution(str(i), inputs + 1, outputs, gain)]


def unet(sizes: Sequence[int], gain: float) -> list[Weight]:
    """A U-Net: the channels of the state, then those of each resolution, each half of the one before."""
    channels, *levels = sizes
    top, bottom, features = levels[0], levels[-1], 4 * levels[0]
    weights = [*_time(features, gain), *_convolution("first", channels, top, gain)]
    for i, (here, below) in enumerate(pairwise(levels)):
        weights += [*_block(f"down{i}", here, here, features, gain), *_convolution(f"shrink{i}", here, below, gain)]
    weights += _block("middle0", bottom, bottom, features, gain)
    weights += [*_norm("middle.norm", bottom), *_attention("middle", bottom, gain)]
    weights += _block("middle1", bottom, bottom, features, gain)
    for i, (here, below) in reversed([*enumerate(pairwise(levels))]):
        weights += [*_convolution(f"grow{i}", below, here, gain), *_block(f"up{i}", 2 * here, here, features, gain)]
    return [*weights, *_norm("last.norm", top), *_convolution("last", top, channels, gain)]


def transformer(sizes: Sequence[int], gain: float) -> list[Weight]:
    """One pre-norm block: the width of the state, then that of the hidden layer of its MLP."""
    width, hidden = sizes
    return [
        *_time(width, gain),
        *_norm("norm0", width),
        *_attention("attention", width, gain),
        *_norm("norm1", width),
        *_dense("mlp0", width, hidden, gain),
        *_dense("mlp1", hidden, width, gain),
    ]


def _dense(name: str, inputs: int, outputs: int, gain: float) -> list[Weight]:
    scale = float(gain / np.sqrt(inputs))
    return [Weight(f"{name}.weight", (inputs, outputs), scale), Weight(f"{name}.bias", (outputs,), 0.1)]


def _convolution(name: str, inputs: int, outputs: int, gain: float, side: int = 3) -> list[Weight]:
    scale, shape = float(gain / np.sqrt(inputs * side**2)), (outputs, inputs, side, side)
    return [Weight(f"{name}.weight", shape, scale), Weight(f"{name}.bias", (outputs,), 0.1)]


def _norm(name: str, width: int) -> list[Weight]:
    return [Weight(f"{name}.weight", (width,), 0.1, mean=1.0), Weight(f"{name}.bias", (width,), 0.1)]


def _time(features: int, gain: float) -> list[Weight]:
    inputs = 2 * len(FREQUENCIES)
    return [*_dense("time0", inputs, features, gain), *_dense("time1", features, features, gain)]


def _attention(name: str, width: int, gain: float) -> list[Weight]:
    return [*_dense(f"{name}.qkv", width, 3 * width, gain), *_dense(f"{name}.out", width, width, gain)]


def _block(name: str, inputs: int, outputs: int, features: int, gain: float) -> list[Weight]:
    """A residual block of two convolutions; a convolution of 1x1 carries the input past them if the width changes."""
    past = _convolution(f"{name}.past", inputs, outputs, gain, side=1) if inputs != outputs else []
    return [
        *_norm(f"{name}.norm0", inputs),
        *_convolution(f"{name}.conv0", inputs, outputs, gain),
        *_dense(f"{name}.time", features, outputs, gain),
        *_norm(f"{name}.norm1", outputs),
        *_convolution(f"{name}.conv1", outputs, outputs, gain),
        *past,
    ]

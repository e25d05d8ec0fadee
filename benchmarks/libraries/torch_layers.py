"""The layers of the larger fields in PyTorch, by `torch.nn.functional`; the same as in `jax_layers.py`."""
# pyright: reportMissingImports=false

import torch
from torch.nn import functional

from ..blueprints import FREQUENCIES, HEADS, NORM_GROUPS


def dense(x, weights, name: str):
    """x W + b, over the last axis."""
    return functional.linear(x, weights[f"{name}.weight"].T, weights[f"{name}.bias"])


def conv(x, weights, name: str, stride: int = 1):
    """A convolution with zero padding, (batch, channels, height, width)."""
    weight = weights[f"{name}.weight"]
    return functional.conv2d(x, weight, weights[f"{name}.bias"], stride=stride, padding=weight.shape[-1] // 2)


def grown(x):
    """Twice as high and wide, every pixel repeated."""
    return functional.interpolate(x, scale_factor=2, mode="nearest")


def group_norm(x, weights, name: str):
    """Mean 0 and variance 1 over each group of channels of each image, then scaled and shifted by channel."""
    return functional.group_norm(x, NORM_GROUPS, weights[f"{name}.weight"], weights[f"{name}.bias"])


def layer_norm(x, weights, name: str):
    """Mean 0 and variance 1 over the last axis, then scaled and shifted."""
    return functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


def attention(x, weights, name: str):
    """Multi-head self-attention, (batch, tokens, width)."""
    parts = dense(x, weights, f"{name}.qkv").chunk(3, dim=-1)
    q, k, v = (part.reshape(*x.shape[:2], HEADS, -1).transpose(1, 2) for part in parts)
    mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)
    return dense(mixed.reshape(x.shape), weights, f"{name}.out")


def time_features(t, weights):
    """Sines and cosines of the time through two dense layers: (1, features), or (batch, features) of own times."""
    like = weights["time0.weight"]
    angles = t.to(like.dtype).reshape(-1, 1) * like.new_tensor(FREQUENCIES)
    waves = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
    return dense(functional.silu(dense(waves, weights, "time0")), weights, "time1")

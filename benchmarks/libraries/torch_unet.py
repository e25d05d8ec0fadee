"""The U-Net field in PyTorch; the same as in `jax_unet.py`."""
# pyright: reportMissingImports=false

import torch
from torch.nn.functional import silu

from .torch_layers import attention, conv, dense, group_norm, grown, time_features


def unet(t, y, weights, levels: int):
    """f(t, y) on a batch of images, (batch, channels, side, side), at so many resolutions."""
    time = silu(time_features(t, weights))
    x, kept = conv(y, weights, "first"), []
    for i in range(levels - 1):
        x = _block(x, time, weights, f"down{i}")
        kept.append(x)
        x = conv(x, weights, f"shrink{i}", stride=2)
    x = _block(x, time, weights, "middle0")
    x = _mixed(x, weights, "middle")
    x = _block(x, time, weights, "middle1")
    for i in reversed(range(levels - 1)):
        x = conv(grown(x), weights, f"grow{i}")
        x = _block(torch.cat([x, kept[i]], dim=1), time, weights, f"up{i}")
    return conv(silu(group_norm(x, weights, "last.norm")), weights, "last")


def _block(x, time, weights, name: str):
    """Two convolutions, the time added per channel between them, beside the input."""
    y = conv(silu(group_norm(x, weights, f"{name}.norm0")), weights, f"{name}.conv0")
    y = y + dense(time, weights, f"{name}.time")[:, :, None, None]
    y = conv(silu(group_norm(y, weights, f"{name}.norm1")), weights, f"{name}.conv1")
    return y + (conv(x, weights, f"{name}.past") if f"{name}.past.weight" in weights else x)


def _mixed(x, weights, name: str):
    """Self-attention of all pixels, added to them."""
    tokens = group_norm(x, weights, f"{name}.norm").flatten(2).transpose(1, 2)
    return x + attention(tokens, weights, name).transpose(1, 2).reshape(x.shape)

"""A flow and a classifier of images in PyTorch, as anyone would write them."""

import math

import torch
from torch import nn

BANDS = 32  # sines of the time


class UNet(nn.Module):
    """The velocity f(t, x) of images x of shape (samples, channels, size, size), for t without axes or (samples,)."""

    def __init__(self, channels: int, widths: tuple[int, ...] = (32, 48, 64)):
        super().__init__()
        first, *rest = widths
        self.time = nn.Sequential(nn.Linear(2 * BANDS, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU())
        self.into = nn.Conv2d(channels, first, 3, padding=1)
        self.down = nn.ModuleList(Block(a, b, 128) for a, b in zip(widths, widths, strict=True))
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in zip(widths, rest, strict=False))
        self.middle = Block(widths[-1], widths[-1], 128)
        up = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in up)
        self.up = nn.ModuleList(Block(2 * b, b, 128) for _, b in up)
        self.out = nn.Sequential(nn.GroupNorm(8, first), nn.SiLU(), nn.Conv2d(first, channels, 3, padding=1))

    def forward(self, t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        seen = self.time(waves(t.reshape(-1).expand(len(x)), x.dtype))
        x, kept = self.into(x), []
        for n, block in enumerate(self.down):
            x = block(x, seen)
            kept.append(x)
            if n < len(self.shrink):
                x = self.shrink[n](x)
        x = self.middle(x, seen)
        for grow, block, beside in zip(self.grow, self.up, kept[-2::-1], strict=True):
            x = block(torch.cat([grow(x), beside], dim=1), seen)
        return self.out(x)


class Block(nn.Module):
    """Two convolutions around which the signal has a way of its own; the time shifts what is between them."""

    def __init__(self, channels: int, width: int, time: int):
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(8, channels), nn.SiLU(), nn.Conv2d(channels, width, 3, padding=1))
        self.shift = nn.Linear(time, width)
        self.second = nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))
        self.past = nn.Conv2d(channels, width, 1) if channels != width else nn.Identity()

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return self.past(x) + self.second(self.first(x) + self.shift(time)[:, :, None, None])


class Classifier(nn.Module):
    """Classes of images; its features are what the Frechet distance compares."""

    def __init__(self, channels: int, size: int):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.SiLU(),
            nn.Conv2d(32, 64, 3, 2, 1), nn.BatchNorm2d(64), nn.SiLU(),
            nn.Conv2d(64, 64, 3, 1, 1), nn.BatchNorm2d(64), nn.SiLU(),
            nn.Flatten(), nn.Linear(64 * (size // 4) ** 2, 64), nn.SiLU(),
        )  # fmt: skip
        self.classes = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classes(self.features(x))


def waves(t: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Sines and cosines of times, (samples, 2 BANDS)."""
    rates = torch.exp(torch.linspace(0, math.log(1000), BANDS, dtype=dtype))
    angles = t.to(dtype)[:, None] * rates
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)

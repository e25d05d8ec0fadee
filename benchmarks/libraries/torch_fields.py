"""The fields of `problems.Problem` in PyTorch, counting their evaluations."""

from collections.abc import Sequence

import torch  # pyright: ignore[reportMissingImports]
from torch.nn import functional  # pyright: ignore[reportMissingImports]

from ..problems import Problem
from .torch_transformer import transformer
from .torch_unet import unet


class Field:
    """f(t, y) on a whole batch; t is one number, or one a sample.

    Attributes:
        nfe: How often it was called.
    """

    def __init__(self, problem: Problem, weights: Sequence["torch.Tensor"]):
        self.weights = weights
        named = problem.named(weights)
        self._slope = {
            "mlp": self._mlp,
            "conv": self._conv,
            "relaxation": self._relaxation,
            "unet": lambda t, y: unet(t, y, named, len(problem.sizes) - 1),
            "transformer": lambda t, y: transformer(t, y, named),
        }[problem.field]
        self.nfe = 0

    def __call__(self, t, y):
        self.nfe += 1
        return self._slope(t, y)

    def _mlp(self, t, y):
        time = t.to(y.dtype).reshape(-1, 1).expand(len(y), 1)
        for i in range(0, len(self.weights), 2):
            y = torch.tanh(y) if i else y
            y = torch.addmm(self.weights[i + 1], torch.cat([y, time], 1), self.weights[i])
        return y

    def _conv(self, t, y):
        time = t.to(y.dtype).reshape(-1, 1, 1, 1).expand(len(y), 1, *y.shape[2:])
        for i in range(0, len(self.weights), 2):
            y = torch.tanh(y) if i else y
            y = functional.conv2d(torch.cat([y, time], 1), self.weights[i], self.weights[i + 1], padding=1)
        return y

    def _relaxation(self, t, y):
        state, rate = y[:, :-1], y[:, -1:]
        return torch.cat([rate * (self._mlp(t, state) - state), torch.zeros_like(rate)], 1)

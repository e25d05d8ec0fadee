"""TorchRun: a solve written in PyTorch, run eagerly."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]

from ..problems import Problem
from .contract import Counts, Run
from .torch_fields import Field

Solve = Callable[[Field, Any, float | None], tuple[Any, Counts]]
"""(field, y0, tolerance) -> (outputs, counts)."""


class TorchRun(Run):
    """The gradient by autograd, inference under `torch.no_grad`; the number of threads stays torch's own choice."""

    def __init__(self, solve: Solve, problem: Problem, tolerance: float | None, device: str):
        has_gpu = torch.cuda.is_available()
        self._device = torch.device({"auto": "cuda" if has_gpu else "cpu"}.get(device, device))
        torch.backends.cudnn.allow_tf32 = False  # float32 means float32, as in torch's own matrix products
        self.weights = [self._tensor(w).requires_grad_() for w in problem.weights()]
        self.y0 = self._tensor(problem.y0()).requires_grad_()
        self.tolerance = tolerance
        self._solve, self._field = solve, Field(problem, self.weights)

    def compile(self, kind: str) -> dict[str, Any]:
        del kind
        return {}

    def forward(self) -> Any:
        with torch.no_grad():
            done = self._run()
        self._wait()
        return done

    def gradient(self) -> Any:
        loss = self._run()[0].square().mean()
        *weights, y0 = torch.autograd.grad(loss, [*self.weights, self.y0])
        self._wait()
        return weights, y0

    def device(self) -> str:
        return torch.cuda.get_device_name() if self._device.type == "cuda" else ""

    def device_peak_mib(self) -> float | None:
        return torch.cuda.max_memory_allocated() / 2**20 if self._device.type == "cuda" else None

    def numpy(self, array: Any) -> np.ndarray:
        return array.detach().cpu().numpy()

    def _run(self):
        self._field.nfe = 0
        return self._solve(self._field, self.y0, self.tolerance)

    def _tensor(self, array: np.ndarray):
        return torch.from_numpy(array).to(self._device)

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()

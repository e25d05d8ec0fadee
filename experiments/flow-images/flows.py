"""The flows: two U-Nets in PyTorch, and the exact flow to eight Gaussians; what their samples are compared with."""

import importlib
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

import kuttax as kx

from .data import SHAPES, load
from .train import flow_of, restored
from .unet import Classifier

HERE = Path(__file__).parent
_exact = importlib.import_module("experiments.distill-flow.run")


class Flow(ABC):
    """A velocity from noise at t = 0 to samples at t = 1.

    Args:
        data_dir: The folder of the data sets.
        out: Where the teacher's samples are kept, in runs/.
    """

    name: str
    work: int
    """Starts of a fit times its evaluations; a fifth of the starts is held out."""
    steps: int | None
    """Of the optimiser of a fit, at most."""
    tested: int
    """Fresh samples."""

    def __init__(self, data_dir: Path, out: Path):
        self.data_dir, self.out = data_dir, out

    @abstractmethod
    def velocity(self, t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The field as PyTorch has it."""

    @property
    @abstractmethod
    def field(self) -> Any:
        """The field as kuttax has it."""

    @abstractmethod
    def noise(self, number: int, seed: int) -> torch.Tensor:
        """Starts."""

    @abstractmethod
    def teacher(self) -> kx.AbstractSolver | None:
        """What a fit learns from."""

    @abstractmethod
    def frechet(self, samples: torch.Tensor) -> float:
        """The Frechet distance of samples to the data."""

    def fresh(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Noise that no fit has seen, and the samples of an accurate solver."""
        noise, path = self.noise(self.tested, 1_000_000), self.out / "runs" / f"{self.name}-{self.tested}.npy"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            fine = kx.Adaptive(kx.tableaus.DOPRI5, 1e-5, 1e-5, control="joint")
            solve = lambda part: np.array(kx.solve(self.field, part, 0.0, 1.0, solver=fine, batch_axis=0).y1)
            np.save(path, np.concatenate([solve(part.numpy()) for part in noise.split(64)]))
        return noise, torch.from_numpy(np.load(path))


class Images(Flow):
    """The flow that `train.py` trained on a data set."""

    work, steps, tested = 600, 20, 512

    @cached_property
    def _flow(self) -> torch.nn.Module:
        return restored(flow_of(self.name), HERE / "weights" / f"{self.name}-flow.npz")

    def velocity(self, t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return self._flow(t, x)

    @cached_property
    def field(self) -> Any:
        return kx.from_torch(self._flow)

    def noise(self, number: int, seed: int) -> torch.Tensor:
        channels, size = SHAPES[self.name]
        return torch.randn(number, channels, size, size, generator=torch.Generator().manual_seed(seed))

    def teacher(self) -> kx.AbstractSolver:
        return kx.Adaptive(kx.tableaus.DOPRI5, 1e-4, 1e-4, control="joint")

    @cached_property
    def _features(self) -> torch.nn.Module:
        path = HERE / "weights" / f"{self.name}-classifier.npz"
        return restored(Classifier(*SHAPES[self.name]), path).features  # pyright: ignore[reportReturnType]

    @cached_property
    def _of_data(self) -> np.ndarray:
        with torch.no_grad():
            return self._features(load(self.name, self.data_dir)["x_test"]).numpy()

    def frechet(self, samples: torch.Tensor) -> float:
        with torch.no_grad():
            return frechet(self._features(samples).numpy(), self._of_data)


class MNIST(Images):
    name = "mnist"


class CIFAR10(Images):
    name = "cifar10"


class EightGaussians(Flow):
    """The exact velocity to eight Gaussians in the plane."""

    name, work, steps, tested = "8gaussians", 8192, None, 8192

    def velocity(self, t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.array(_batch(jnp.asarray(t.numpy()), jnp.asarray(x.numpy()))))

    @property
    def field(self) -> Any:
        return _exact.field

    def noise(self, number: int, seed: int) -> torch.Tensor:
        return torch.randn(number, 2, generator=torch.Generator().manual_seed(seed))

    def teacher(self) -> None:
        return None

    def frechet(self, samples: torch.Tensor) -> float:
        rng = np.random.default_rng(0)
        centres = _exact.CENTRES[rng.integers(0, 8, 100_000)]
        return frechet(samples.numpy(), centres + _exact.SPREAD * rng.normal(size=centres.shape))


FLOWS: dict[str, type[Flow]] = {kind.name: kind for kind in (MNIST, CIFAR10, EightGaussians)}


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """|mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)), of features (n, d) (Heusel et al., NeurIPS 2017)."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    first, second = np.cov(a.T), np.cov(b.T)
    root = np.sqrt(np.maximum(np.linalg.eigvals(first @ second).real, 0)).sum()
    apart = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2)
    return float(apart + np.trace(first) + np.trace(second) - 2 * root)


@jax.jit
def _batch(t: Any, x: Any) -> Any:
    return jax.vmap(lambda x: _exact.field(t, x, None))(x)

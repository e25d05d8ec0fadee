"""Libraries: who is measured, and what each one needs."""

import importlib
from dataclasses import dataclass

from ..workload import Workload
from .contract import Counts, Run


@dataclass(frozen=True)
class Library:
    """A library and the variant of it that is measured.

    Attributes:
        module: Its adapter here, and its name.
        variant: Which of its ways to do the work; empty for the plain one.
        packages: What must be installed, and whose versions are recorded.
    """

    module: str
    variant: str
    packages: tuple[str, ...]

    @property
    def torch(self) -> bool:
        """Whether it runs on PyTorch, else on JAX."""
        return "torch" in self.packages

    @property
    def twin(self) -> str | None:
        """The variant whose tolerance a variant on a common grid takes; None for every other one."""
        if self.variant.split("-")[-1] != "common":
            return None
        return "-".join([self.module, *self.variant.split("-")[:-1]])

    def build(self, workload: Workload, device: str, counts: Counts | None) -> Run:
        """The workload, ready to run.

        Args:
            workload: What to do.
            device: "cpu", "cuda", or "auto" for the framework's own choice.
            counts: What kuttax's solve of it took; the limit counts that many evaluations.

        Raises:
            Unsupported: It cannot do this work.
        """
        return importlib.import_module(f"{__name__}.{self.module}").build(workload, self.variant, device, counts)


def _library(name: str, *packages: str) -> Library:
    module, _, variant = name.partition("-")
    return Library(module, variant, packages)


_JAX = ("jax", "jaxlib", "numpy")
_TORCH = ("torch", "numpy")
LIBRARIES = {
    **{
        name: _library(name, "kuttax", *_JAX, "equinox")
        for name in (
            "kuttax",
            "kuttax-learned",
            "kuttax-learned-table",
            "kuttax-stages",
            "kuttax-steps",
            "kuttax-reversible",
            "kuttax-common",
            "kuttax-joint",
            "kuttax-joint-common",
        )
    },
    **{name: _library(name, *_JAX) for name in ("limit", "limit-stored")},
    **{name: _library(name, "diffrax", *_JAX, "equinox") for name in ("diffrax", "diffrax-tuned")},
    **{name: _library(name, "torchdiffeq", *_TORCH) for name in ("torchdiffeq", "torchdiffeq-adjoint")},
    "torchode": _library("torchode", "torchode", *_TORCH),
    "torch-loop": Library("torch_loop", "", _TORCH),
}
"""Every library and variant by the name that records and options use."""

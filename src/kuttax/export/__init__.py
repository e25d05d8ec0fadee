"""Solvers and models for programs without kuttax: NumPy arrays and programs, PyTorch, diffusers, LaTeX, StableHLO."""

from .program import to_stablehlo
from .scheduler import to_diffusers
from .schemes import NumpyTable, to_latex, to_numpy, to_numpy_source, to_torch_source

__all__ = [
    "NumpyTable",
    "to_diffusers",
    "to_latex",
    "to_numpy",
    "to_numpy_source",
    "to_stablehlo",
    "to_torch_source",
]

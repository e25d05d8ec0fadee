"""Solvers and models for programs without kuttax: NumPy arrays and programs, PyTorch, LaTeX, StableHLO."""

from .program import to_stablehlo as to_stablehlo
from .schemes import NumpyTable as NumpyTable
from .schemes import to_latex as to_latex
from .schemes import to_numpy as to_numpy
from .schemes import to_numpy_source as to_numpy_source
from .schemes import to_torch_source as to_torch_source

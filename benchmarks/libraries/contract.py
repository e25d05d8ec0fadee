"""What the worker asks of a library. NumPy only."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

Counts = dict[str, float]
"""nfe, accepted and rejected of a forward solve: of the slowest sample where every sample has its own steps."""


class Unsupported(Exception):
    """The library cannot do this work; the message says why."""


class Run(ABC):
    """A workload in one library. `tolerance` may be changed at any time."""

    tolerance: float | None

    @abstractmethod
    def compile(self, kind: str) -> dict[str, Any]:
        """Compile apart from the first call. Empty where eager.

        trace_s, lower_s and xla_s in seconds, compile_s their sum; temp_mib where the compiler tells it.
        """

    @abstractmethod
    def forward(self) -> Any:
        """Solve, and wait until it is done: (outputs, counts)."""

    @abstractmethod
    def gradient(self) -> Any:
        """The gradient of mean(outputs^2) in the weights and y0, waited for: (weights, y0)."""

    @abstractmethod
    def device(self) -> str:
        """The kind of device, where it is no CPU; else empty."""

    @abstractmethod
    def device_peak_mib(self) -> float | None:
        """The most memory that was ever in use on the device; None on a CPU."""

    @abstractmethod
    def numpy(self, array: Any) -> np.ndarray:
        """One of the library's arrays as NumPy's."""


def counted(nfe: Any, accepted: Any = None, rejected: Any = None) -> Counts:
    """The counts of a solve as plain numbers, of the slowest sample, without those that are None."""
    named = {"nfe": nfe, "accepted": accepted, "rejected": rejected}
    return {name: float(np.max(np.asarray(value))) for name, value in named.items() if value is not None}

"""JaxRun: a solve written in JAX, compiled, timed as its user would call it: `jax.jit` of the solve or its gradient."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..problems import Problem
from .contract import Run


@dataclass(frozen=True)
class Program:
    """What a JAX library does.

    Attributes:
        solve: (weights, y0, table, tolerance) -> (outputs, counts as arrays).
        table: Further arrays handed to `solve`: the free parameters of a learned solver, or each sample's own times.
        trains_table: Differentiate in them too.
        gradient: What stands for the gradient of mean(outputs^2), a pair whose second part is it; None for that itself.
    """

    solve: Callable[..., tuple[Any, dict[str, Any]]]
    table: Any = None
    trains_table: bool = False
    gradient: Callable[..., tuple[Any, Any]] | None = None


class JaxRun(Run):
    """Weights, states and tolerance are arguments of the compiled functions, never constants in them."""

    def __init__(self, program: Program, problem: Problem, tolerance: float | None):
        self.weights = [jnp.asarray(w) for w in problem.weights()]
        self.y0 = jnp.asarray(problem.y0())
        self.table = jax.tree.map(jnp.asarray, program.table)
        self.tolerance = tolerance

        def loss(weights, y0, table, tolerance):
            return jnp.mean(jnp.square(program.solve(weights, y0, table, tolerance)[0]))

        trained = (0, 1, 2) if program.trains_table else (0, 1)
        self._functions = {
            "forward": jax.jit(program.solve),
            "gradient": jax.jit(program.gradient or jax.value_and_grad(loss, trained)),
        }
        jax.block_until_ready(jax.jit(jnp.square)(self.y0))  # what JAX itself does once is no compile time of the solve

    @property
    def tolerance(self) -> float | None:
        return self._tolerance

    @tolerance.setter
    def tolerance(self, value: float | None) -> None:
        self._tolerance = value
        self._arguments = (self.weights, self.y0, self.table, jnp.float32(value or 0.0))

    def compile(self, kind: str) -> dict[str, Any]:
        start = time.perf_counter()
        traced = self._functions[kind].trace(*self._arguments)
        is_traced = time.perf_counter()
        lowered = traced.lower()
        is_lowered = time.perf_counter()
        compiled = lowered.compile()
        end = time.perf_counter()
        memory = compiled.memory_analysis()
        return {
            "trace_s": is_traced - start,
            "lower_s": is_lowered - is_traced,
            "xla_s": end - is_lowered,
            "compile_s": end - start,
            "temp_mib": memory and memory.temp_size_in_bytes / 2**20,
        }

    def forward(self) -> Any:
        outputs, counts = jax.block_until_ready(self._functions["forward"](*self._arguments))
        return outputs, counts

    def gradient(self) -> Any:
        return jax.block_until_ready(self._functions["gradient"](*self._arguments))[1][:2]

    def device(self) -> str:
        device = jax.devices()[0]
        return "" if device.platform == "cpu" else device.device_kind

    def device_peak_mib(self) -> float | None:
        stats = jax.devices()[0].memory_stats()
        return stats["peak_bytes_in_use"] / 2**20 if stats else None

    def numpy(self, array: Any) -> np.ndarray:
        return np.asarray(array)

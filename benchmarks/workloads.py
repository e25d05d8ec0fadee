"""Workloads: what is solved, how, and by which libraries. NumPy only: every library's process imports it."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from .problems import Problem

_JAX = ("kuttax", "limit", "diffrax", "diffrax-tuned")
_TORCH = ("torchdiffeq", "torchdiffeq-adjoint", "torchode")
_LEARNED = ("kuttax", "kuttax-learned", "kuttax-learned-table", "limit")
_SCALING = ("kuttax", "limit", "diffrax-tuned", "torchdiffeq")
_MEMORY = ("kuttax", "kuttax-stages", "kuttax-steps", "kuttax-reversible", "diffrax", "torchdiffeq-adjoint")
_RAGGED = ("kuttax", "kuttax-common", "limit", "diffrax", "diffrax-tuned", "torchode")
_RAGGED_JOINT = ("kuttax-joint", "kuttax-joint-common")
_STOCHASTIC = ("kuttax", "limit", "limit-stored", "diffrax-tuned")
STAGES = {"RK4": 4, "DOPRI5": 6, "Euler-Maruyama": 1}
"""Evaluations of the field in one step; DOPRI5's seventh stage is the next step's first."""


@dataclass(frozen=True)
class Workload:
    """A problem and how it is solved.

    Attributes:
        name: What commands and records call it.
        group: The table that it belongs to.
        problem: What is solved.
        libraries: Who solves it.
        steps: So many equal steps of the classical RK4, or of Euler-Maruyama; None for the adaptive DOPRI5. If every
            sample has its own times to save at, so many from each of them to the next.
        tolerance: rtol and atol of the adaptive solve; what it achieves in diffrax is the error that all must meet.
        per_sample: Every sample has its own steps.
        noise: An SDE: diagonal noise, the diffusion as costly as the drift.
        kinds: What is timed: "gradient" of mean(y^2) in weights and y0, "forward" the solve alone.
        rounds: How often each library has its turn.
    """

    name: str
    group: Literal["fixed", "adaptive", "learned", "scaling", "memory", "stochastic", "ragged"]
    problem: Problem
    libraries: tuple[str, ...]
    steps: int | None = None
    tolerance: float | None = None
    per_sample: bool = False
    noise: bool = False
    kinds: tuple[str, ...] = ("gradient", "forward")
    rounds: int = 7

    @property
    def method(self) -> str:
        """The Runge-Kutta method."""
        if self.noise:
            return "Euler-Maruyama"
        return "DOPRI5" if self.steps is None else "RK4"

    @property
    def total_steps(self) -> int | None:
        """The number of fixed steps of the whole solve."""
        return self.steps and self.steps * (self.problem.times if self.problem.own_times else 1)

    def smoke(self) -> "Workload":
        """The same in small: it shows that everything runs, and measures nothing."""
        small = {"mlp": (3, 8, 3), "relaxation": (3, 8, 3), "conv": (2, 2, 2)}[self.problem.field]
        problem = dataclasses.replace(
            self.problem,
            sizes=small,
            batch=4,
            side=min(self.problem.side, 4),
            t1=1.0,
            spread=min(self.problem.spread, 10.0),
            times=min(self.problem.times, 5),
        )
        steps, tolerance = self.steps and 2, self.tolerance and 1e-3
        return dataclasses.replace(self, problem=problem, steps=steps, tolerance=tolerance, rounds=2)


SMALL = Problem("mlp", (3, 64, 64, 3), batch=256)
NARROW = Problem("mlp", (3, 16, 3), batch=256)
WIDE = Problem("mlp", (784, 100, 784), batch=512)
CONV = Problem("conv", (8, 8, 8), batch=64, side=32)
DEEP = Problem("mlp", (32, 64, 32), batch=256)
RAGGED = dataclasses.replace(SMALL, t1=10.0, times=100, own_times=True)
MIXED = Problem("relaxation", (3, 64, 64, 3), batch=64, t1=2.0, spread=100.0)


def _fixed(name: str, problem: Problem, steps: int) -> Workload:
    return Workload(f"{name}-rk4", "fixed", problem, (*_JAX, "limit-stored", *_TORCH), steps=steps)


def _adaptive(name: str, problem: Problem, per_sample: bool = False) -> Workload:
    return Workload(f"{name}-dopri5", "adaptive", problem, _JAX + _TORCH, tolerance=1e-5, per_sample=per_sample)


def _scaled(axis: str, value: int) -> Workload:
    """The small field's fixed grid with one of its sizes changed."""
    batch, width, steps = (
        value if axis == name else size for name, size in (("batch", 256), ("width", 64), ("steps", 20))
    )
    problem = dataclasses.replace(SMALL, batch=batch, sizes=(3, width, width, 3))
    return Workload(f"scaling-{axis}-{value}", "scaling", problem, _SCALING, steps=steps, rounds=3)


def _memory(steps: int) -> Workload:
    return Workload(f"memory-{steps}", "memory", DEEP, _MEMORY, steps=steps, kinds=("gradient",), rounds=3)


_ALL = (
    _fixed("small", SMALL, 20),
    _fixed("wide", WIDE, 8),
    dataclasses.replace(_fixed("conv", CONV, 8), rounds=3),
    _adaptive("small", SMALL),
    _adaptive("wide", WIDE),
    dataclasses.replace(_adaptive("conv", CONV), rounds=3),
    _adaptive("long", dataclasses.replace(SMALL, t1=40.0)),
    _adaptive("trajectory", dataclasses.replace(SMALL, t1=10.0, times=100)),
    _adaptive("mixed", MIXED, per_sample=True),
    Workload("ragged-rk4", "ragged", RAGGED, _RAGGED, steps=2),
    Workload("ragged-dopri5", "ragged", RAGGED, _RAGGED + _RAGGED_JOINT, tolerance=1e-5, per_sample=True),
    Workload("small-learned", "learned", SMALL, _LEARNED, steps=20),
    Workload("wide-learned", "learned", WIDE, _LEARNED, steps=8),
    *(_scaled("steps", value) for value in (10, 100, 1000)),
    *(_scaled("batch", value) for value in (16, 256, 4096)),
    *(_scaled("width", value) for value in (16, 64, 256, 1024)),
    *(_memory(steps) for steps in (100, 300, 1000)),
    Workload("small-sde", "stochastic", SMALL, _STOCHASTIC, steps=100, noise=True),
    Workload("narrow-sde", "stochastic", NARROW, _STOCHASTIC, steps=100, noise=True),
)
WORKLOADS = {workload.name: workload for workload in _ALL}
"""Every workload by its name, in the order in which they are run."""


def find(name: str, *, smoke: bool = False) -> Workload:
    """The workload of this name, or the same in small."""
    return WORKLOADS[name].smoke() if smoke else WORKLOADS[name]

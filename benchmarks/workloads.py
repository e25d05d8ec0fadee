"""Every workload by its name. NumPy only: every library's process imports it."""

import dataclasses

from .problems import Problem
from .workload import Method, Workload

_JAX = ("kuttax", "limit", "diffrax", "diffrax-tuned")
_TORCH = ("torchdiffeq", "torchdiffeq-adjoint", "torchode")
_LEARNED = ("kuttax", "kuttax-learned", "kuttax-learned-table", "limit")
_SCALING = ("kuttax", "limit", "diffrax-tuned", "torchdiffeq")
_MEMORY = ("kuttax", "kuttax-stages", "kuttax-steps", "kuttax-reversible", "diffrax", "torchdiffeq-adjoint")
_RAGGED = ("kuttax", "kuttax-common", "limit", "diffrax", "diffrax-tuned", "torchode")
_RAGGED_JOINT = ("kuttax-joint", "kuttax-joint-common")
_STOCHASTIC = ("kuttax", "limit", "limit-stored", "diffrax-tuned")
_LEARNED_TOO = ("kuttax-learned", "kuttax-learned-table")

SMALL = Problem("mlp", (3, 64, 64, 3), batch=256)
NARROW = Problem("mlp", (3, 16, 3), batch=256)
WIDE = Problem("mlp", (784, 100, 784), batch=512)
CONV = Problem("conv", (8, 8, 8), batch=64, side=32)
DEEP = Problem("mlp", (32, 64, 32), batch=256)
RAGGED = dataclasses.replace(SMALL, t1=10.0, times=100, own_times=True)
MIXED = Problem("relaxation", (3, 64, 64, 3), batch=64, t1=2.0, spread=100.0)
UNET = Problem("unet", (1, 16, 32, 64), batch=16, side=28, gain=1.0)
TRANSFORMER = Problem("transformer", (64, 256), batch=16, tokens=64, gain=1.0)
LAYERS = (2, 8, 32, 64)
"""Depths of the fields whose compile time is measured."""


def _fixed(name: str, problem: Problem, steps: int) -> Workload:
    libraries = (*_JAX, "limit-stored", *_TORCH, "torch-loop")
    return Workload(f"{name}-rk4", "fixed", problem, libraries, "RK4", steps=steps)


def _adaptive(name: str, problem: Problem, per_sample: bool = False) -> Workload:
    libraries = _JAX + _TORCH
    return Workload(f"{name}-dopri5", "adaptive", problem, libraries, "DOPRI5", tolerance=1e-5, per_sample=per_sample)


def _field(name: str, problem: Problem, method: Method, tolerance: float = 1e-5, steps: int = 8) -> Workload:
    """A field as users have it: RK4 with fixed steps, every other method adaptive."""
    fixed = method == "RK4"
    return Workload(
        f"{name}-{method.lower()}",
        "fields",
        problem,
        (*_JAX, *(_LEARNED_TOO if fixed else ()), "torchdiffeq", *(("torch-loop",) if fixed else ())),
        method,
        steps=steps if fixed else None,
        tolerance=None if fixed else tolerance,
        rounds=3,
    )


def _compile_only(workload: Workload) -> Workload:
    """The same for its compile time: one peer, and the same tolerance for both instead of the same error."""
    return dataclasses.replace(workload, libraries=("kuttax", "diffrax"), reference=False)


def _deep(layers: int) -> list[Workload]:
    """So many dense layers of width 64. DOPRI8 and TSIT5 are there for their compile time."""
    problem = Problem("mlp", (64,) * (layers + 1), batch=256, gain=1.0)
    compiled = (_field(f"mlp{layers}", problem, method) for method in ("DOPRI8", "TSIT5"))
    return [
        _field(f"mlp{layers}", problem, "RK4"),
        _field(f"mlp{layers}", problem, "DOPRI5"),
        *(_compile_only(workload) for workload in compiled),
    ]


def _images() -> list[Workload]:
    """The U-Net. A reference in float64 would take longer than all else here; DOPRI8 is there for its compile time."""
    fixed = _field("unet", UNET, "RK4", steps=2)
    adaptive, compiled = (_field("unet", UNET, method, tolerance=1e-3) for method in ("DOPRI5", "DOPRI8"))
    run = (dataclasses.replace(workload, reference=False) for workload in (fixed, adaptive))
    return [*run, _compile_only(compiled)]


def _scaled(axis: str, value: int) -> Workload:
    """The small field's fixed grid with one of its sizes changed."""
    batch, width, steps = (
        value if axis == name else size for name, size in (("batch", 256), ("width", 64), ("steps", 20))
    )
    problem = dataclasses.replace(SMALL, batch=batch, sizes=(3, width, width, 3))
    return Workload(f"scaling-{axis}-{value}", "scaling", problem, _SCALING, "RK4", steps=steps, rounds=3)


def _memory(steps: int) -> Workload:
    return Workload(f"memory-{steps}", "memory", DEEP, _MEMORY, "RK4", steps=steps, kinds=("gradient",), rounds=3)


def _stochastic(name: str, problem: Problem) -> Workload:
    return Workload(f"{name}-sde", "stochastic", problem, _STOCHASTIC, "Euler-Maruyama", steps=100, reference=False)


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
    *(workload for layers in LAYERS for workload in _deep(layers)),
    *_images(),
    _field("transformer", TRANSFORMER, "RK4"),
    _field("transformer", TRANSFORMER, "DOPRI5"),
    Workload("ragged-rk4", "ragged", RAGGED, _RAGGED, "RK4", steps=2),
    Workload("ragged-dopri5", "ragged", RAGGED, _RAGGED + _RAGGED_JOINT, "DOPRI5", tolerance=1e-5, per_sample=True),
    Workload("small-learned", "learned", SMALL, _LEARNED, "RK4", steps=20),
    Workload("wide-learned", "learned", WIDE, _LEARNED, "RK4", steps=8),
    *(_scaled("steps", value) for value in (10, 100, 1000)),
    *(_scaled("batch", value) for value in (16, 256, 4096)),
    *(_scaled("width", value) for value in (16, 64, 256, 1024)),
    *(_memory(steps) for steps in (100, 300, 1000)),
    _stochastic("small", SMALL),
    _stochastic("narrow", NARROW),
)
WORKLOADS = {workload.name: workload for workload in _ALL}
"""Every workload by its name, in the order in which they are run."""


def _on_gpu(name: str, problem: Problem, method: Method, more: tuple[str, ...] = (), **settings) -> Workload:
    """A workload at a size for a GPU. Without a reference: all take the same steps or tolerance."""
    fixed = method == "RK4"
    libraries = ("kuttax", *more, "limit", "diffrax", "torch-loop" if fixed else "torchdiffeq")
    settings = {"rounds": 5, "reference": False, **settings}
    return Workload(f"{name}-{method.lower()}-gpu", "gpu", problem, libraries, method, **settings)


_WIDE_ON_GPU = Problem("mlp", (784, 1024, 784), batch=8192)
_DEEP_ON_GPU = Problem("mlp", (512,) * 33, batch=4096, gain=1.0)
_UNET_ON_GPU = Problem("unet", (3, 64, 128, 256), batch=256, side=32, gain=1.0)
_TRANSFORMER_ON_GPU = Problem("transformer", (512, 2048), batch=64, tokens=256, gain=1.0)
_ALL_ON_GPU = (
    _on_gpu("wide", _WIDE_ON_GPU, "RK4", ("diffrax-tuned",), steps=8),
    _on_gpu("unet", _UNET_ON_GPU, "RK4", ("kuttax-learned",), steps=2),
    _on_gpu("transformer", _TRANSFORMER_ON_GPU, "RK4", steps=4),
    _on_gpu("unet", _UNET_ON_GPU, "DOPRI5", tolerance=1e-3),
    _on_gpu("wide", _WIDE_ON_GPU, "DOPRI5", ("diffrax-tuned",), tolerance=1e-5),
    _on_gpu("transformer", _TRANSFORMER_ON_GPU, "DOPRI5", tolerance=1e-5),
    _on_gpu("mlp32", _DEEP_ON_GPU, "RK4", steps=8),
    _on_gpu("mlp32", _DEEP_ON_GPU, "DOPRI8", tolerance=1e-5),
    _on_gpu("small", dataclasses.replace(SMALL, batch=4096), "DOPRI5", ("diffrax-tuned",), tolerance=1e-5),
)
ON_GPU = {workload.name: workload for workload in _ALL_ON_GPU}
"""The workloads of `python -m benchmarks gpu`, the most telling ones first."""


def find(name: str, *, smoke: bool = False) -> Workload:
    """The workload of this name, or the same in small."""
    workload = (WORKLOADS | ON_GPU)[name]
    return workload.smoke() if smoke else workload

"""Samplers that need no fit: classical schemes of kuttax, and the multistep solvers of Hugging Face's diffusers.

A velocity is f(t, x) with noise at t = 0 and images at t = 1. In diffusers the time is sigma = 1 - t, and a model
predicts dx/dsigma.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler

import kuttax as kx

Sampler = Callable[[torch.Tensor], torch.Tensor]
Velocity = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Sampled(Protocol):
    """A flow, as PyTorch has it and as kuttax has it."""

    @property
    def field(self) -> Any: ...

    def velocity(self, t: torch.Tensor, x: torch.Tensor) -> torch.Tensor: ...


_SCHEMES = {
    "Euler": kx.tableaus.EULER,
    "midpoint": kx.tableaus.MIDPOINT,
    "Heun": kx.tableaus.HEUN2,
    "RK4": kx.tableaus.RK4,
}
_MULTISTEP: dict[str, Any] = {"DPM-Solver++": DPMSolverMultistepScheduler, "UniPC": UniPCMultistepScheduler}


def peers(nfe: int) -> Iterator[tuple[str, Callable[[Sampled], Sampler]]]:
    """The samplers that take exactly this number of evaluations, by name."""
    for name, tableau in _SCHEMES.items():
        if nfe % tableau.stages == 0:
            solver = kx.FixedSteps(tableau, nfe // tableau.stages)
            yield name, lambda flow, solver=solver: by_kuttax(flow.field, solver)
    for name, kind in _MULTISTEP.items():
        for order in (2, 3):
            yield f"{name} {order}", lambda flow, kind=kind, order=order: by_diffusers(flow.velocity, kind, order, nfe)


def by_kuttax(field: Any, solver: kx.AbstractSolver) -> Sampler:
    """Samples by a solver of kuttax."""

    def sample(noise: torch.Tensor) -> torch.Tensor:
        found = kx.solve(field, noise, 0.0, 1.0, solver=solver, batch_axis=0).y1
        return torch.from_numpy(np.array(found))

    return sample


def by_diffusers(
    velocity: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], kind: Any, order: int, nfe: int
) -> Sampler:
    """Samples by a scheduler of diffusers."""

    def sample(noise: torch.Tensor) -> torch.Tensor:
        options = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 1.0}
        scheduler = kind(solver_order=order, **options)
        scheduler.set_timesteps(nfe)
        x = noise
        for n, time in enumerate(scheduler.timesteps):
            slope = -velocity(1 - scheduler.sigmas[n].to(x.dtype), x)
            x = scheduler.step(slope, time, x, return_dict=False)[0]
        return x

    return sample

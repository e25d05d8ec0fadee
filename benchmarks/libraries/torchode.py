"""torchode: every sample with its own steps."""
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false
# (where the package is not installed, its name means this file)

import torch
from torchode import (
    AutoDiffAdjoint,
    Dopri5,
    InitialValueProblem,
    IntegralController,
    ODETerm,
    Tsit5,
)

from ..workload import Workload
from .contract import Counts, Unsupported, counted
from .torch_run import TorchRun

_METHODS = {"DOPRI5": Dopri5, "TSIT5": Tsit5}


def build(workload: Workload, variant: str, device: str, counts: Counts | None) -> TorchRun:
    """The workload in torchode: IntegralController, AutoDiffAdjoint.

    Its gradient leaves out how step sizes depend on the weights, as the other libraries' do; torchode's own default
    carries that too, which costs more.
    """
    del variant, counts
    if workload.method not in _METHODS:
        raise Unsupported(f"it has no {workload.method}")
    problem, times = workload.problem, workload.problem.ts()

    def solve(field, y0, tolerance):
        samples, shape = len(y0), y0.shape[1:]
        slope = field if len(shape) == 1 else lambda t, y: field(t, y.reshape(samples, *shape)).flatten(1)
        term = ODETerm(slope)
        controller = IntegralController(tolerance, tolerance, term=term).to(y0.device)
        adjoint = AutoDiffAdjoint(_METHODS[workload.method](term), controller, backprop_through_step_size_control=False)
        start = y0.new_zeros(samples)
        ts = None if times is None else torch.from_numpy(times).to(y0.device).expand(samples, problem.times)
        sol = adjoint.solve(InitialValueProblem(y0.flatten(1), start, start + problem.t1, ts), term)
        ys = sol.ys.transpose(0, 1).reshape(-1, samples, *shape)
        accepted, attempts = sol.stats["n_accepted"].cpu(), sol.stats["n_steps"].cpu()
        return (ys[-1] if times is None else ys), counted(field.nfe, accepted, attempts - accepted)

    return TorchRun(solve, problem, workload.tolerance, device)

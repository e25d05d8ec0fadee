"""torchdiffeq: autograd through the solver's operations, or the continuous adjoint."""
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false
# (where the package is not installed, its name means this file)

from collections import Counter

import torch
from torchdiffeq import odeint, odeint_adjoint

from ..workload import Workload
from .contract import Counts, Unsupported
from .torch_run import TorchRun

_ADAPTIVE = ("DOPRI5", "DOPRI8")


def build(workload: Workload, variant: str, device: str, counts: Counts | None) -> TorchRun:
    """The workload in torchdiffeq, jointly stepped. Its "rk4" is the 3/8 rule: other numbers, the same cost and order.

    It has DOPRI5 and DOPRI8 for adaptive steps only.

    Variants: "" (`odeint`) and "adjoint" (`odeint_adjoint`, the backward solve at the same steps or tolerance).
    """
    del counts
    if workload.method not in (_ADAPTIVE if workload.steps is None else ("RK4",)):
        raise Unsupported(f"it has no {workload.method}")
    problem, times = workload.problem, workload.problem.ts()

    def solve(field, y0, tolerance):
        ts = y0.new_tensor([0.0, problem.t1]) if times is None else torch.from_numpy(times).to(y0.device)
        arguments, steps = _method(workload, tolerance), Counter()
        if workload.steps is None:
            field.callback_accept_step = lambda t, y, dt: steps.update(["accepted"])
            field.callback_reject_step = lambda t, y, dt: steps.update(["rejected"])
        if variant == "adjoint":
            ys = odeint_adjoint(field, y0, ts, adjoint_params=tuple(field.weights), **arguments)
        else:
            ys = odeint(field, y0, ts, **arguments)
        return (ys[-1] if times is None else ys), {"nfe": field.nfe, **_counts(workload, steps)}

    return TorchRun(solve, problem, workload.tolerance, device)


def _method(workload: Workload, tolerance: float | None) -> dict:
    if workload.steps is None:
        return {"method": workload.method.lower(), "rtol": tolerance, "atol": tolerance}
    nodes = workload.steps + 1

    def grid(field, y0, ts):  # its step_size option may round to one step more
        del field, y0
        return torch.linspace(ts[0], ts[-1], nodes, dtype=ts.dtype, device=ts.device)

    return {"method": "rk4", "options": {"grid_constructor": grid}}


def _counts(workload: Workload, steps: Counter) -> Counts:
    if workload.steps is not None:
        return {"accepted": workload.steps, "rejected": 0}
    return {"accepted": steps["accepted"], "rejected": steps["rejected"]}

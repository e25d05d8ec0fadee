"""torch-loop: the loop that one would write by hand in PyTorch, without a library."""
# pyright: reportMissingImports=false

from ..workload import Workload
from .contract import Counts, Unsupported
from .torch_run import TorchRun


def build(workload: Workload, variant: str, device: str, counts: Counts | None) -> TorchRun:
    """The workload as a plain Python loop over equal steps of RK4; autograd differentiates it."""
    del variant, counts
    steps, problem = workload.steps, workload.problem
    if workload.method != "RK4" or steps is None or problem.ts() is not None:
        raise Unsupported("the loop by hand takes equal steps of RK4 to the end")
    h = problem.t1 / steps

    def solve(field, y0, tolerance):
        del tolerance
        y = y0
        for n in range(steps):
            start, middle, end = (y0.new_tensor(h * (n + theta)) for theta in (0.0, 0.5, 1.0))
            k1 = field(start, y)
            k2 = field(middle, y + h / 2 * k1)
            k3 = field(middle, y + h / 2 * k2)
            k4 = field(end, y + h * k3)
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return y, {"nfe": field.nfe, "accepted": steps, "rejected": 0}

    return TorchRun(solve, problem, workload.tolerance, device)

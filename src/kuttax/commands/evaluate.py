"""`kuttax evaluate RUN_DIR`: a saved run on its test data, with its own solver or another."""

from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from ..training.checkpoint import load_run, read_run
from ..training.evaluate import evaluate
from .solver_options import SolverOptions


@dataclass(frozen=True, kw_only=True)
class OtherSolver(SolverOptions):
    """Which solver to use."""

    solver: str = "own"
    """own: the one that the run was trained with; or a classical one."""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Evaluate a saved run on its test data, with its own solver or with another one."""

    solver: OtherSolver = field(default_factory=OtherSolver)

    def __call__(self, directory: Path, console: Console) -> int:
        """Run the command; returns the exit code."""
        about = read_run(directory)
        task, model, solver = load_run(directory)
        if self.solver.solver != "own":
            solver = self.solver.build(task.interval)
        size = about["record"]["batch_size"]
        result = evaluate(task, model, solver, task.test, size)
        console.print(str(solver), highlight=False)
        unit, nfe = task.metric.unit, "unknown" if result.nfe != result.nfe else f"{result.nfe:.4g}"
        console.print(f"test {task.metric.name} {result.metric:.4g} {unit}, loss {result.loss:.4g}, NFE {nfe}")
        return 0

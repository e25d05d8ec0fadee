"""`kuttax evaluate RUN_DIR`: a saved run on its test data, with its own solver or another."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from rich.console import Console

from ..errors import UserError
from ..report import forecast
from ..solvers.base import AbstractSolver
from ..training.checkpoint import batch_size_of, load_run
from ..training.evaluate import evaluate
from .parser import changed
from .run import nfe_said
from .sde_solvers import refuse_other_kind
from .solver_options import SolverOptions


@dataclass(frozen=True, kw_only=True)
class OtherSolver(SolverOptions):
    """Which solver to use."""

    solver: str = "own"
    """own: the one that the run was trained with; or a classical one."""

    def other(self) -> AbstractSolver | None:
        """The solver that was asked for; None for the run's own.

        Raises:
            UserError: The options name no solver, or contradict each other.
        """
        if self.solver != "own":
            return self.build()
        other = changed(self, fields(self))
        if other:
            raise UserError(f"{other} changes nothing in the run's own solver: name another one with --solver")
        return None


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Evaluate a saved run on its test data, with its own solver or with another one."""

    solver: OtherSolver = field(default_factory=OtherSolver)

    def __call__(self, directory: Path, console: Console) -> int:
        """Run the command; returns the exit code."""
        size = batch_size_of(directory)
        other = self.solver.other()
        task, model, own = load_run(directory)
        solver = own if other is None else other
        refuse_other_kind(task.name, task, solver)
        result = evaluate(task, model, solver, task.test, size)
        console.print(str(solver), highlight=False)
        unit, nfe = task.metric.unit, nfe_said(result._asdict())
        console.print(f"test {task.metric.name} {result.metric:.4g} {unit}, loss {result.loss:.4g}, NFE {nfe}")
        if hasattr(task, "forecast"):
            of_task: Any = task
            for line in forecast.said(of_task.forecast(model, solver)):
                console.print(line, highlight=False)
        return 0

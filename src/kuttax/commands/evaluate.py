"""`kuttax evaluate RUN_DIR`: a saved run on its test data, with its own solver or another."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

from rich.console import Console

from ..errors import UserError
from ..options.bounds import at_least
from ..options.unused import Unused, unless
from ..report import forecast
from ..solvers.base.solver import AbstractSolver
from ..tasks.abilities import HasForecast
from ..training.checkpoint import batch_size_of, load_run
from ..training.evaluate import evaluate
from .options.other_kind import refuse_other_kind
from .options.solver import ClassicalOptions
from .run import describe_nfe


@dataclass(frozen=True, kw_only=True)
class OtherSolver(ClassicalOptions):
    """The solver to evaluate with."""

    solver: str = "own"
    """Solve with this solver. own: the solver of the run. ODE: euler, midpoint, rk4, bosh3, dopri5, tsit5, dopri8, ...;
    those with an error estimate choose their steps unless you give --steps. SDE: spark, which chooses its steps, or
    with --steps: euler-maruyama, milstein, stochastic-heun, srk."""
    steps: Annotated[int, at_least(1, most=100_000)] | None = None
    """Take this many steps of equal size."""

    def other(self) -> AbstractSolver | None:
        """The solver that the options name; None for the run's own.

        Raises:
            UserError: The options name no solver, or contradict each other.
        """
        if self.solver in ("learned", "learned-srk"):
            raise UserError(f"{self.solver} has learned nothing outside of its own run: use own, or a classical solver")
        return None if self.solver == "own" else self.classical()

    def unused(self) -> dict[str, Unused]:
        """The options that have no effect beside the others."""
        if self.solver != "own":
            return self.tolerance_unused()
        others = [option.name for option in fields(self) if option.name != "solver"]
        return unless(False, others, "in the run's own solver", "name another one with --solver")


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Evaluate a saved run on its test data, with its own solver or with another one."""

    solver: OtherSolver = field(default_factory=OtherSolver)

    def unused(self) -> dict[str, Unused]:
        """The options that have no effect beside the others."""
        return self.solver.unused()

    def __call__(self, directory: Path, console: Console) -> int:
        """Run the command; returns the exit code."""
        other = self.solver.other()
        size = batch_size_of(directory)
        task, model, own = load_run(directory)
        solver = own if other is None else other
        refuse_other_kind(task.name, task, solver)
        result = evaluate(task, model, solver, task.test, size)
        console.out(str(solver))
        unit, nfe = task.metric.unit, describe_nfe(result._asdict())
        console.out(f"test {task.metric.name} {result.metric:.4g} {unit}, loss {result.loss:.4g}, NFE {nfe}")
        if isinstance(task, HasForecast):
            for line in forecast.describe(task.forecast(model, solver)):
                console.out(line)
        return 0

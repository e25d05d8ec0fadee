"""`kuttax distill RUN_DIR`: a learned solver for the finished field of a saved run."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
from jaxtyping import PRNGKeyArray
from rich.console import Console

from ..distillation import Distilled, distill, student
from ..distillation.fitting import RADIUS, Plan
from ..distillation.objectives import ObjectiveKind
from ..distillation.starts import checked_starts, split
from ..distillation.students import StudentKind, stages_of
from ..errors import UserError
from ..io import checkpoints
from ..io.folder import Folder
from ..io.records import as_json
from ..options.bounds import Seed, Share, WholeNumber, above, at_least, check_bounds
from ..options.unused import Unused, unless
from ..solvers.base.solver import AbstractSolver
from ..solvers.rk.learned import LearnedRK
from ..tasks.abilities import HasTrajectories
from ..tasks.base import Trajectories
from ..tasks.starts import some_trajectories
from ..training.checkpoint import batch_size_of, load_run, read_run, save_run
from ..training.evaluate import evaluate
from .distillation_log import DistillationLog
from .fit import Budget
from .run import environment, reference
from .saved.kept import save_for_torch, save_record
from .saved.output import CHECKPOINTS, Output
from .saved.run_folder import begin, finished


@dataclass(frozen=True, kw_only=True)
class Distill:
    """Fit a learned solver to the field of a saved run. The solver learns from solves that start at the run's training
    samples. The result is a new run with the same weights and the new solver."""

    nfe: Budget = 8
    """Evaluations of the field in one solve."""
    student: StudentKind = "per_step"
    """Fit this kind of solver. per_step: each step has its own coefficients and a learned size. shared: all steps share
    one set of coefficients. anchored: one step of --nfe stages. free: a sampler without an order, which comes closest
    to the teacher and has no certificate."""
    stages: WholeNumber | None = None
    """Evaluations in one step (default: the largest of 4, 3, 2 that divides --nfe, else its smallest prime factor up
    to 13, else 1)."""
    order: Annotated[int, at_least(1, most=64)] = 1
    """Keep at least this order of accuracy, whatever the solver learns."""
    window: WholeNumber | None = None
    """With --student free: let each update use this many of the last slopes (default: all)."""
    starts: Annotated[int, at_least(2)] = 512
    """Start from this many training samples."""
    holdout: Share = 0.2
    """Keep this share of the starts out of the fit, to test it."""
    objective: ObjectiveKind = "end"
    """Make these errors small. end: at the end of the interval. local: of each step from the teacher's state at its
    beginning. relaxed: at the end, from starts that may move a little."""
    radius: Annotated[float, above(0)] = RADIUS
    """With --objective relaxed: a start may move by this share of the starts' size."""
    seed: Seed = 0
    """Draw the starts from this seed."""
    out: Path | None = None
    """Write the new run to this folder (default: RUN/distilled-nfeN)."""
    overwrite: bool = False
    """Replace the results of an earlier run in --out."""
    resume: bool = False
    """Continue the interrupted fit in --out; all other options must be the same."""

    def __post_init__(self):
        check_bounds(self)

    def unused(self) -> dict[str, Unused]:
        """The options that have no effect beside the others."""
        unused = unless(self.student == "free", ["window"], f"with --student {self.student}")
        unused |= unless(self.objective == "relaxed", ["radius"], f"with --objective {self.objective}")
        if self.student in ("anchored", "free"):
            why = f"with --student {self.student}, whose one step has as many stages as --nfe"
            unused |= unless(False, ["stages"], why)
            return unused | unless(self.student == "anchored", ["order"], "with --student free, which has none")
        one_step = self.student == "shared" and stages_of(self.nfe, self.stages) == self.nfe
        return unused | unless(not one_step, ["student"], "in a solver of one step", "give fewer --stages")

    @property
    def _radius(self) -> float | None:
        return self.radius if self.objective == "relaxed" else None

    def __call__(self, directory: Path, console: Console) -> int:
        """Run the command; returns the exit code."""
        out = directory / f"distilled-nfe{self.nfe}" if self.out is None else self.out
        order = None if self.student == "free" else self.order
        start = student(self.student, self.nfe, stages=self.stages, order=order, window=self.window)
        Plan.checked(self.objective, self._radius, start)
        size, about = batch_size_of(directory), read_run(directory)
        with Output(out, "distill", overwrite=self.overwrite, resume=self.resume) as output:
            config = self._configuration(directory)
            if finished(output, config, console):
                return 0
            task, model, own = load_run(directory)
            draw_key, fit_key = jax.random.split(jax.random.key(self.seed))
            problem = self._problem(directory, task, model, draw_key)
            folder = begin(output, config, console)
            fitted = self._fitted(problem, start, folder, console, fit_key)
            console.out(str(fitted))
            solvers = {"own solver": own, "distilled": fitted.solver, "Tsit5 at 1e-6": reference(task)}
            record = {
                "kind": "distilled",
                "from": str(directory),
                "options": asdict(self),
                "batch_size": size,
                "error": fitted.error,
                "median": fitted.median,
                "classical": [row._asdict() for row in fitted.table],
                "test": self._tested(task, model, solvers, size, console),
                **environment(),
            }
            self._save(folder, model, fitted.solver, about, record)
            checkpoints.clear(folder.path / CHECKPOINTS)
            output.finish()
        console.out(f"Saved in {out}. Look again: kuttax evaluate {out}")
        return 0

    def _configuration(self, directory: Path) -> dict[str, Any]:
        """The options that must be the same to continue a run."""
        apart = ("out", "overwrite", "resume")
        return {"from": str(directory), **{name: x for name, x in asdict(self).items() if name not in apart}}

    def _problem(self, directory: Path, task: Any, model: Any, key: PRNGKeyArray) -> Trajectories:
        """What the solver is fitted to, from the run's own training samples."""
        if not isinstance(task, HasTrajectories):
            raise UserError(f"{directory}: task {task.name} does not say which trajectories to distill for")
        problem = some_trajectories(task, model, self.starts, key)
        split(len(jax.tree.leaves(checked_starts(problem.y0))[0]), self.holdout, key)
        return problem

    def _fitted(
        self, problem: Trajectories, start: LearnedRK, folder: Folder, console: Console, key: PRNGKeyArray
    ) -> Distilled:
        """The learned solver."""
        field, y0, t0, t1, args = problem
        options = {"objective": self.objective, "radius": self._radius, "saved": folder.path / CHECKPOINTS}
        with DistillationLog(console) as log:
            return distill(
                field, y0, t0, t1, student=start, args=args, holdout=self.holdout, report=log, key=key, **options
            )

    def _tested(
        self, task: Any, model: Any, solvers: dict[str, AbstractSolver], size: int, console: Console
    ) -> dict[str, Any]:
        """The results of each solver on the test data."""
        metric, unit = task.metric.name, task.metric.unit
        results = {}
        for name, solver in solvers.items():
            result = evaluate(task, model, solver, task.test, size)
            results[name] = result._asdict()
            console.out(f"test {metric} {result.metric:.4g} {unit}, NFE {result.nfe:.4g}: {name}")
        return results

    def _save(
        self, folder: Folder, model: Any, solver: LearnedRK, about: dict[str, Any], record: dict[str, Any]
    ) -> None:
        """Save the run with its new solver, the solver for PyTorch, and the measurements."""
        save_run(folder, model, solver, {"task": about["task"], "record": record})
        save_record(folder, as_json(record))
        save_for_torch(folder, solver)

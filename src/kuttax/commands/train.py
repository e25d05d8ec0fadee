"""`kuttax train TASK`: one model, one solver, one seed."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from rich.console import Console

from ..io.checkpoints import Checkpoints
from ..io.folder import Folder
from ..io.records import Record, as_json
from ..options.bounds import Seed, between, check_bounds
from ..options.unused import Unused
from ..report import forecast
from ..solvers.base.solver import AbstractSolver, title
from ..solvers.leaves import learns
from ..tasks.options import TaskOptions
from ..training.checkpoint import options_as_json
from ..training.loop import Trainer
from ..training.parallel import OneDevice, Placement, first, joined, part, together
from ..training.settings import Settings
from .options.other_kind import refuse_other_kind
from .options.penalty import PenaltyOptions
from .options.solver import SolverOptions
from .options.step_control import control_of, describe, proposed_steps
from .options.task_unused import unused_in_task
from .own_data import settings_for
from .program.terminal import terminal
from .run import describe_metric, describe_nfe, describe_verdict, recorded, train
from .saved.configuration import of_task
from .saved.kept import read_record, save_record
from .saved.output import CHECKPOINTS, Output
from .saved.run_folder import begin, finished

CheckpointSeconds = Annotated[float, between(0, 1e6)]
"""Between two checkpoints."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a neural ODE or SDE with one solver, and with a penalty if you name one. Save model, solver, metrics and
    results."""

    example: ClassVar[str] = "--solver learned --stages 4 --steps 2"

    solver: SolverOptions = field(default_factory=SolverOptions)
    penalty: PenaltyOptions = field(default_factory=PenaltyOptions)
    training: Settings = field(default_factory=Settings)
    step_control: Literal["off", "ott", "certified"] = "off"
    """Change the number of steps, or the tolerance of an adaptive solver, during training. ott: by the rule of Ott et
    al. (2021). certified: to the coarsest value whose certificate is valid. Training starts at --steps or --rtol; euler
    and rk4 can start without --steps."""
    seed: Seed = 0
    """Draw the initial weights and the order of the data from this seed."""
    out: Path | None = None
    """Write the run to this folder (default: runs/train-TASK)."""
    overwrite: bool = False
    """Replace the results of an earlier run in --out."""
    resume: bool = False
    """Continue the interrupted run in --out from its last checkpoint; all other options must be the same."""
    checkpoint_seconds: CheckpointSeconds = 30.0
    """Wait at least this many seconds between two checkpoints."""
    distributed: bool = False
    """Split every batch among all devices of this machine, or of all processes that a launcher has started."""

    def __post_init__(self):
        check_bounds(self)

    def unused(self, options: TaskOptions) -> dict[str, Unused]:
        """The options that have no effect beside the others and the task's."""
        self._place()  # processes must join before any computation, and solvers are made of arrays
        solver = self._start()
        return {
            **self.solver.unused(controlled=self.step_control != "off"),
            **self.penalty.unused(),
            **self.training.unused(learns=learns(solver)),
            **unused_in_task(options, [solver], penalised=self.penalty.build().name is not None),
        }

    def __call__(self, name: str, options: TaskOptions, console: Console) -> int:
        """Run the command on the named task; returns the exit code."""
        record = self.record(name, options, console)
        if record is not None:
            self._say(record, self._folder(name), console)
        return 0

    def _folder(self, name: str) -> Path:
        """The folder of the run."""
        return Path(f"runs/train-{name}") if self.out is None else self.out

    def record(self, name: str, options: TaskOptions, console: Console) -> Record | None:
        """Make and save the run; returns its record, or None in a process that another one leads."""
        place = self._place()
        if not place.leads:
            console = terminal(quiet=True)
        solver = self._start()
        refuse_other_kind(name, options, solver)
        control, penalty = control_of(self.step_control, solver), self.penalty.build()
        penalty.refuse_unfit(solver)
        out = self._folder(name)

        def trainer_of(solver: AbstractSolver) -> Trainer:
            task = options.build()
            training = settings_for(task, self.training, console)
            if self._proposes:
                solver = solver.with_steps(proposed_steps(task, solver, training.batch_size, self.seed))
            return Trainer(task, solver, training, penalty.scheduled(training.train_steps), control, place)

        def begun() -> None:
            begin(output, config, console)

        controlled = "" if control is None else f", {self.step_control} step control"
        label = penalty.beside(title(solver)) + controlled
        about = {"task": name, "method": self.solver.solver, "label": label, "budget": None, **penalty.about}
        with Output(out, "train", overwrite=self.overwrite, resume=self.resume) as output:
            config = together(place, lambda: self._configuration(name, options))
            if first(place, lambda: finished(output, config, console)):
                return read_record(output.folder) if place.leads else None
            trainer = together(place, lambda: trainer_of(solver))
            first(place, begun)
            folder = output.folder
            checkpoints = self._checkpoints(folder)
            trained = train(trainer, self.seed, label, folder, console, checkpoints, resume=self.resume)
            part(place)
            if not place.leads:
                return None
            record = recorded(trainer, trained, self.seed, about, options_as_json(options), folder)
            record = as_json(record)
            save_record(folder, record)
            checkpoints.clear()
            output.finish()
        return record

    def _checkpoints(self, folder: Folder) -> Checkpoints:
        return Checkpoints(folder.path / CHECKPOINTS, every=self.checkpoint_seconds)

    def _place(self) -> Placement:
        """Where the run is trained."""
        return joined() if self.distributed else OneDevice()

    @property
    def _proposes(self) -> bool:
        """Whether Hairer's heuristic proposes the initial number of steps."""
        return self.step_control != "off" and self.solver.lacks_steps

    def _start(self) -> AbstractSolver:
        """The solver of the options; with one step if the number is proposed."""
        return (replace(self.solver, steps=1) if self._proposes else self.solver).build()

    def _say(self, record: dict[str, Any], out: Path, console: Console) -> None:
        """Print the results in a few lines."""
        metric, unit = record["metric"]["name"], record["metric"]["unit"]
        value = lambda part: describe_metric(record[part], unit)
        again = "impossible" if record["nfe_reference"] is None else value("test_reference")
        console.out(record["label"])
        if "step_control" in record:
            console.out(describe(record["step_control"]))
        console.out(
            f"{metric}: validation {value('validation')}, test {value('test')}, "
            f"re-solved by {record['reference']} {again}"
        )
        console.out(
            f"NFE {describe_nfe(record)}, {record['predict_ms']:.3g} ms a batch of {record['batch_size']}; "
            f"{record['train_seconds']:.3g} s of training, {record['compile_seconds']:.3g} s of compiling"
        )
        for line in forecast.describe(record["forecast"]) if "forecast" in record else ():
            console.out(line)
        console.out(f"{describe_verdict(record['certificate'])}; the whole certificate: kuttax certify {out}")
        if record["certificate"]["verdict"] == "invalid":
            console.out(f"  {record['certificate']['reasons'][0]}")
        again = "" if "in_law" in record["certificate"] else " --solver tsit5 --rtol 1e-6 --atol 1e-6"
        console.out(f"Saved in {out}. Look again: kuttax evaluate {out}{again}")

    def _configuration(self, name: str, options: Any) -> dict[str, Any]:
        """The options that must be the same to continue a run."""
        return {
            "task": name,
            "options": of_task(options),
            "solver": asdict(self.solver),
            "penalty": asdict(self.penalty),
            "training": asdict(self.training),
            "step_control": self.step_control,
            "seed": self.seed,
        }

"""The options of the task "dynamics"."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from ...data.systems import systems, trajectory_files
from ...data.systems.columns import Columns
from ...data.systems.trajectory import Source, Trajectory
from ...data.systems.windows import SHUFFLED, TrajectorySplits, split_trajectories, with_noise
from ...errors import UserError
from ...nn.fields.known_physics import KNOWN
from ...options.bounds import Depth, MostSteps, Seed, Size, WholeNumber, above, at_least, between
from ...options.columns import Delimiter, TimeColumns
from ...options.unused import Unused, changed, refuse_unused, unless
from ..options import TaskOptions
from .drive import InputKind
from .task import Dynamics, check_options

SystemName = Literal[
    "lorenz63", "lorenz96", "lotka-volterra", "pendulum", "van-der-pol", "kuramoto-sivashinsky"
]  # those of `systems.SYSTEMS`

_BY_TIME = f"with fewer than {SHUFFLED} trajectories, which are split by time"


@dataclass(frozen=True, kw_only=True)
class DynamicsOptions(TaskOptions):
    """Learn the vector field behind trajectories, of a known system or from your own file, and forecast with it."""

    example: ClassVar[str] = "--file data.csv"
    training: ClassVar[dict[str, Any]] = {"train_steps": 2000, "batch_size": 64, "lr": 3e-3}

    system: SystemName = "lorenz63"
    """Generate trajectories of this system, at a tolerance of 1e-10."""
    file: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Learn your own trajectories instead of a system's: a CSV or Parquet file with a row for each time, or an NPZ file
    with arrays t, x, u and trajectory. Columns are found by their usual names, or named below."""
    time: TimeColumns = None
    state: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="COLUMN ...")] = None
    """With --file: the states (default: x1, x2, ..., or all columns that are nothing else)."""
    control_input: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="COLUMN ...")] = None
    """With --file: the control inputs (default: u1, u2, ..., if they are there)."""
    trajectory: Annotated[str | None, tyro.conf.arg(metavar="COLUMN")] = None
    """With --file: the label of a row's trajectory (default: trajectory, series, id or run, if it is there)."""
    delimiter: Delimiter = None
    trajectories: WholeNumber | None = None
    """Generate this many trajectories (default: depends on the system)."""
    samples: Annotated[int, at_least(2)] | None = None
    """Observe each trajectory this many times (default: depends on the system)."""
    dt: Annotated[float, above(0)] | None = None
    """Mean time between two observations (default: depends on the system)."""
    noise: Annotated[float, at_least(0)] = 0.0
    """Add noise to training and validation data, with this standard deviation relative to that of each component. Test
    data stay free of noise."""
    irregular: Annotated[float, between(0, 1, "[)")] = 0.0
    """Observe at irregular times: move each time by at most this share of half an interval, 0 to 1."""
    data_seed: Seed = 0
    """Draw starts, observation times and noise from this seed."""
    held_out: Annotated[float, between(0, 0.5, "()")] = 0.2
    """Keep this share of the trajectories for validation, and the same share for testing; of fewer than three
    trajectories, keep the last pieces in time."""
    split_seed: Seed = 0
    """Draw the trajectories for validation and testing from this seed."""
    field: Literal["mlp", "bilinear", "physics"] = "mlp"
    """The vector field: a multilayer perceptron (mlp), a bilinear network, or known parts of the system's equations
    plus a multilayer perceptron (physics)."""
    width: Size = 64
    """Hidden units (mlp, physics) or products (bilinear)."""
    depth: Depth = 2
    """Number of hidden layers (mlp, physics)."""
    horizon: WholeNumber = 10
    """Predict this many intervals between observations from each start, in training, validation and test."""
    curriculum: tuple[int, ...] | None = None
    """Train with these shorter horizons first, such as 1 3; each of them, and then --horizon, gets an equal share of
    training."""
    segments: WholeNumber = 1
    """Multiple shooting: put this many segments of --horizon intervals into a training window, and train the start of
    each."""
    continuity: Annotated[float, at_least(0)] = 1.0
    """Multiple shooting: weight of the gaps between segments in the loss."""
    input: InputKind = "linear"
    """Control inputs between observations: keep the last value (hold), or interpolate (linear; cubic, whose slope is
    continuous)."""
    hidden: Annotated[int, at_least(0, most=1000)] = 0
    """Give the state this many entries that are not observed. An encoder finds them from the past of each window."""
    memory: Annotated[int, at_least(0, most=100_000)] = 10
    """With --hidden: show the encoder this many observations before the first of a window, and control inputs."""
    forecast_length: WholeNumber | None = None
    """Make the long forecasts at the end this many intervals long (default: the length of a test trajectory)."""
    lyapunov: Annotated[float, above(0)] | None = None
    """Report valid prediction times in units of this largest Lyapunov exponent (default: the system's, if it is
    positive)."""
    max_steps: MostSteps = 1024
    """Let an adaptive solver try at most this many steps in one window."""

    def __post_init__(self):
        super().__post_init__()
        check_options(self)
        if self.file is not None and self.field == "physics":
            raise UserError(
                "--field physics knows the equations of --system alone: for a --file use kuttax.tasks.Dynamics with "
                "known=, in Python (docs/dynamics.md)"
            )

    def unused(self) -> dict[str, Unused]:
        """The options that change nothing beside the others."""
        generated = ["system", "trajectories", "samples", "dt", "noise", "irregular", "data_seed"]
        columns = ["time", "state", "control_input", "trajectory", "delimiter"]
        by_time = self.file is None and self.trajectories is not None and self.trajectories < SHUFFLED
        bilinear = self.field == "bilinear"
        return {
            **unless(self.file is None, generated, "with --file: it is for generated data"),
            **unless(self.file is not None, columns, "without --file", "name a file"),
            **unless(not by_time, ["split_seed"], _BY_TIME, "give more trajectories"),
            **unless(not bilinear, ["depth"], "with --field bilinear", "name another field"),
            **unless(bilinear or self.depth > 0, ["width"], "with --depth 0", "give a hidden layer"),
            **unless(self.file is not None, ["input"], "without --file: the systems have no control inputs"),
            **unless(self.segments > 1, ["continuity"], "with --segments 1", "give more segments"),
            **unless(self.hidden > 0, ["memory"], "without hidden states", "give --hidden"),
        }

    def build(self) -> Dynamics:
        """Generates or reads the data and makes the task.

        Raises:
            UserError: If an option is out of range, or a file cannot be read as trajectories.
        """
        own = self.file is None
        lyapunov = systems.SYSTEMS[self.system].lyapunov if own and self.lyapunov is None else self.lyapunov
        data, source = self._data()
        return Dynamics(
            "dynamics",
            self._parts(data),
            network="bilinear" if self.field == "bilinear" else "mlp",
            width=self.width,
            depth=self.depth,
            known=KNOWN[self.system] if self.field == "physics" else None,
            horizon=self.horizon,
            curriculum=tuple(self.curriculum or ()),
            segments=self.segments,
            continuity=self.continuity,
            input=self.input,
            hidden=self.hidden,
            memory=self.memory,
            forecast_length=self.forecast_length,
            lyapunov=lyapunov,
            source=source,
            max_steps=self.max_steps,
        )

    def _parts(self, data: list[Trajectory]) -> TrajectorySplits:
        unused = {
            **unless(len(data) >= SHUFFLED, ["split_seed"], _BY_TIME, "give more trajectories"),
            **unless(data[0].u.shape[1] > 0, ["input"], "without control inputs", "give columns u1, u2, ..."),
        }
        refuse_unused(unused, changed(self))  # how many a file holds is known now
        parts = split_trajectories(data, self.held_out, self.split_seed)
        if self.noise == 0:
            return parts
        noisy = with_noise([*parts.train, *parts.validation], self.noise, self.data_seed)
        return TrajectorySplits(noisy[: len(parts.train)], noisy[len(parts.train) :], parts.test)

    def _data(self) -> tuple[list[Trajectory], Source | None]:
        if self.file is not None:
            names = {name: getattr(self, name) for name in ("time", "state", "control_input", "trajectory")}
            return trajectory_files.load(self.file, Columns(**names), self.delimiter)
        found = systems.generate(
            self.system,
            trajectories=self.trajectories,
            samples=self.samples,
            interval=self.dt,
            irregular=self.irregular,
            seed=self.data_seed,
        )
        return found, None

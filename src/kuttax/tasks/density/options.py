"""The options of the tasks "density" and "flow"."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from ...data.images import digits
from ...data.tables import embedded as tables
from ...data.tables import maf, toys
from ...data.tables.own import load as load_table
from ...data.tables.points import PointSource, PointSplits
from ...density.coupling import CouplingKind, coupling_of
from ...density.trace import Exact, Hutchinson
from ...errors import UserError
from ...options.bounds import Depth, MostSteps, Seed, Share, Size, WholeNumber
from ...options.columns import Delimiter
from ...options.unused import Unused, unless
from ..options import TaskOptions
from .likelihood import Likelihood
from .matching import Matching
from .task import Density, DensityFieldKind, Objective

DATA = (*toys.TOYS, "digits", *tables.TABLES, *maf.SETS)
"""The names of the data sets."""


@dataclass(frozen=True, kw_only=True)
class PointOptions(TaskOptions):
    """The data and the field."""

    training: ClassVar[dict[str, Any]] = {"train_steps": 2000, "batch_size": 256, "lr": 3e-3}
    """Settings of training that the other defaults are chosen for."""

    data: Annotated[str, tyro.conf.arg(help=f"Learn this data set: {', '.join(DATA)}.")] = "moons"
    file: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Learn this table of yours instead of --data: CSV, Parquet, NPY, or NPZ with an array x; one sample a row. It is
    standardised for you."""
    column: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="COLUMN ...")] = None
    """With --file: learn the joint density of these columns (default: all)."""
    delimiter: Delimiter = None
    data_dir: Path | None = None
    """Read the last five of --data from this folder, which holds their unpacked archive (default: download it once)."""
    samples: WholeNumber = 10_000
    """Distributions in the plane: draw this many samples for training."""
    test_samples: WholeNumber = 8192
    """Distributions in the plane: draw this many samples for testing."""
    data_seed: Seed = 0
    """Draw from this seed: the samples of a distribution in the plane, the validation rows of a table, the noise on the
    digits."""
    validation_fraction: Share = 0.2
    """Tables and digits: keep this share of the training set for validation."""
    field: DensityFieldKind = "squash"
    """The vector field: the gated layers of FFJORD (squash), or a multilayer perceptron that sees the time (mlp)."""
    width: Size = 64
    """Hidden units."""
    depth: Depth = 2
    """Number of hidden layers."""
    units: Literal["auto", "nats", "bits/dim"] = "auto"
    """Report the negative log-likelihood in these units. auto: bits per dimension for digits, nats otherwise."""
    max_steps: MostSteps = 256
    """Let an adaptive solver try at most this many steps."""

    def __post_init__(self):
        super().__post_init__()
        if self.data not in DATA:
            raise UserError(f"unknown data {self.data!r}; known: {', '.join(DATA)}, or a table of your own with --file")

    def unused(self) -> dict[str, Unused]:
        """The options that change nothing beside the others."""
        own, data = self.file is not None, f"with --data {self.data}" if self.file is None else "with --file"
        toy, published = not own and self.data in toys.TOYS, not own and self.data in maf.SETS
        return {
            **unless(not own, ["data"], data),
            **unless(own, ["column", "delimiter"], data, "give a table of your own with --file"),
            **unless(published, ["data_dir"], data, f"name one of {', '.join(maf.SETS)}"),
            **unless(toy, ["samples", "test_samples"], data, f"name one of {', '.join(toys.TOYS)}"),
            **unless(not published, ["data_seed"], data, "name other data"),
            **unless(not (toy or published), ["validation_fraction"], data, "give a table of your own with --file"),
            **unless(self.depth > 0, ["width"], "with --depth 0", "give a hidden layer"),
        }

    def points(self) -> tuple[PointSplits, PointSource | None]:
        """The data, and their source if it is a table of the user's.

        Raises:
            UserError: If they cannot be had, or an option is out of range.
        """
        fraction, seed = self.validation_fraction, self.data_seed
        if self.file is not None:
            own = load_table(self.file, self.column, self.delimiter)
            found = tables.three_parts(str(self.file), own.x, fraction, seed)
            return found.splits, PointSource(own.names, found.mean, found.sd, own.summary)
        return self._known(fraction, seed), None

    def _known(self, fraction: float, seed: int) -> PointSplits:
        if self.data in toys.TOYS:
            return toys.load(self.data, self.samples, test=self.test_samples, seed=seed)
        if self.data == "digits":
            return digits.load_dequantised(fraction, seed)
        if self.data in tables.TABLES:
            return tables.load(self.data, fraction, seed)
        return maf.load(self.data, self.data_dir)

    def task(self, name: str, objective: Objective) -> Density:
        """The task on these data.

        Raises:
            UserError: As `points`.
        """
        images = self.file is None and self.data == "digits"
        splits, source = self.points()
        return Density(
            name,
            splits,
            objective,
            field=self.field,
            width=self.width,
            depth=self.depth,
            units=self.units if self.units != "auto" else "bits/dim" if images else "nats",
            max_steps=self.max_steps,
            source=source,
        )


@dataclass(frozen=True, kw_only=True)
class DensityOptions(PointOptions):
    """Learn a density by maximum likelihood with a continuous normalizing flow, which is solved in every training step
    (FFJORD)."""

    trace: Literal["exact", "hutchinson"] = "exact"
    """Trace of the Jacobian in training: exact, or estimated with noise that is constant within a solve (hutchinson).
    Predictions use the exact trace."""
    penalised: WholeNumber | None = None
    """Compute the penalty on at most this many points of a batch, to save time (default: all)."""

    def build(self) -> Density:
        """Loads the data and makes the task.

        Raises:
            UserError: If the data cannot be had or an option is out of range.
        """
        return self.task("density", Likelihood(Exact() if self.trace == "exact" else Hutchinson(), self.penalised))


@dataclass(frozen=True, kw_only=True)
class FlowOptions(PointOptions):
    """Learn a density by flow matching. Training solves nothing; likelihood and sampling are those of the task
    density."""

    consistent: ClassVar[bool] = False

    coupling: CouplingKind = "independent"
    """Pair noise with samples at random (independent), each sample with near noise of the same batch, by optimal
    transport (optimal), or any noise with its sample of the whole training set (semidiscrete; needs ott-jax)."""

    def build(self) -> Density:
        """Loads the data and makes the task.

        Raises:
            UserError: If the data cannot be had or an option is out of range.
        """
        return self.task("flow", Matching(coupling_of(self.coupling)))

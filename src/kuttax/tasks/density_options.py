"""The options of the tasks "density" and "flow"."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from ..data import digits, maf, tables, toys
from ..data.points import PointSplits
from ..data.table_file import read_table
from ..density.coupling import Coupling
from ..density.trace import Exact, Hutchinson
from ..errors import UserError
from .classification import check_sizes
from .density import Density, FieldKind, Objective
from .likelihood import Likelihood
from .matching import Matching

DATA = (*toys.TOYS, "digits", *tables.TABLES, *maf.SETS)
"""The names of the data sets."""


@dataclass(frozen=True, kw_only=True)
class PointOptions:
    """The data and the field."""

    training: ClassVar[dict[str, Any]] = {"train_steps": 2000, "batch_size": 256, "lr": 3e-3}
    """Settings of training that the other defaults are chosen for."""

    data: Annotated[str, tyro.conf.arg(metavar="NAME", help=f"What to learn: {', '.join(DATA)}.")] = "moons"
    file: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A table of your own in place of --data: CSV, NPY, or NPZ with an array x; one sample a row, standardised here."""
    data_dir: Path | None = None
    """Directory with the unpacked archive of the last five of --data; without it, it is downloaded once."""
    samples: int = 10_000
    """Samples to train on, of a distribution in the plane."""
    test_samples: int = 8192
    """Samples to test on, of a distribution in the plane."""
    data_seed: int = 0
    """Decides all samples of a distribution in the plane, and the noise of the digits."""
    validation_fraction: float = 0.2
    """Share of the training set on which choices are made, of a table."""
    field: FieldKind = "squash"
    """Vector field: the gated layers of FFJORD, or a multilayer perceptron that sees the time."""
    width: int = 64
    """Hidden units."""
    depth: int = 2
    """Hidden layers."""
    units: Literal["auto", "nats", "bits/dim"] = "auto"
    """What the negative log-likelihood is given in; auto: bits a dimension for digits, else nats."""
    max_steps: int = 256
    """The most steps an adaptive solver may try."""

    def __post_init__(self):
        """Looks at the options before any data are loaded."""
        name = type(self).__name__.lower()
        check_sizes(name, width=self.width, depth=self.depth, max_steps=self.max_steps)
        if self.data not in DATA:
            raise UserError(f"unknown data {self.data!r}; known: {', '.join(DATA)}, or a table of your own with --file")

    def points(self) -> PointSplits:
        """The data.

        Raises:
            UserError: If they cannot be had, or an option is out of range.
        """
        fraction, seed = self.validation_fraction, self.data_seed
        if self.file is not None:
            return tables.three_parts(str(self.file), read_table(self.file), fraction, seed)
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
        return Density(
            name,
            self.points(),
            objective,
            field=self.field,
            width=self.width,
            depth=self.depth,
            units=self.units if self.units != "auto" else "bits/dim" if images else "nats",
            max_steps=self.max_steps,
        )


@dataclass(frozen=True, kw_only=True)
class DensityOptions(PointOptions):
    """Learn a density by maximum likelihood: a continuous normalizing flow, solved in every training step (FFJORD)."""

    trace: Literal["exact", "hutchinson"] = "exact"
    """Trace of the Jacobian while training: exact, or estimated with noise that is fixed for a solve. Predictions are
    exact."""
    penalised: int | None = None
    """The most points of a batch that a penalty looks at, to save time (default all)."""

    def build(self) -> Density:
        """Loads the data and makes the task.

        Raises:
            UserError: If the data cannot be had or an option is out of range.
        """
        if self.penalised is not None and self.penalised < 1:
            raise UserError(f"penalised must be >= 1, got {self.penalised}")
        return self.task("density", Likelihood(Exact() if self.trace == "exact" else Hutchinson(), self.penalised))


@dataclass(frozen=True, kw_only=True)
class FlowOptions(PointOptions):
    """Learn a density by flow matching: nothing is solved while training; likelihood and sampling are those of the task
    density."""

    coupling: Coupling = "independent"
    """Which noise goes with which sample: any, or those that are nearest together in a batch (optimal transport)."""

    def build(self) -> Density:
        """Loads the data and makes the task.

        Raises:
            UserError: If the data cannot be had or an option is out of range.
        """
        return self.task("flow", Matching(self.coupling))

"""The options of the task "latent"."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from ...data.series import oscillations, physionet, series_files
from ...data.series.columns import SeriesColumns
from ...data.series.series import SeriesSplits, split
from ...errors import UserError
from ...options.bounds import Depth, MostSteps, Seed, Size, WholeNumber, above, at_least, between
from ...options.columns import ChannelColumns, Delimiter, SeriesColumn, TimeColumns
from ...options.unused import Unused, unless
from ...solvers.sde.sde import Calculus
from ..options import TaskOptions
from .task import Latent

_PHYSIONET_STD = 0.01  # of Rubanova et al.'s code, for values scaled to 0 to 1
_OWN_STD = 0.05


@dataclass(frozen=True, kw_only=True)
class LatentOptions(TaskOptions):
    """Fit a latent ODE or SDE to irregularly observed time series, and predict the values that it was not shown."""

    example: ClassVar[str] = "--file series.csv"
    training: ClassVar[dict[str, Any]] = {"train_steps": 3000, "batch_size": 64, "lr": 1e-2}

    data: Literal["synthetic", "physionet"] = "synthetic"
    """Learn damped oscillations at random times (synthetic), or two days in intensive care (physionet: PhysioNet's
    challenge of 2012, set A)."""
    file: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Learn your own series instead of --data: a CSV or Parquet file with a row for each time of each series. Columns
    are found by their usual names, or named below. An empty cell is a gap."""
    series: SeriesColumn = None
    time: TimeColumns = None
    channel: ChannelColumns = None
    delimiter: Delimiter = None
    data_dir: Path | None = None
    """Read PhysioNet's set-a from this folder, as files, folder or archive (default: download it once)."""
    samples: WholeNumber = 2000
    """Generate this many series."""
    noise: Annotated[float, at_least(0)] = 0.1
    """Add noise of this standard deviation to the generated series."""
    data_seed: Seed = 0
    """Draw the generated series from this seed."""
    rounding: Annotated[float, above(0)] | None = None
    """Round times to multiples of this, so that all series share one grid (default: 0.1; in hours for physionet;
    for --file the least gap, or what gives at most 500 intervals, in the unit that kuttax reports)."""
    observed: Annotated[float, between(0, 1, "(]")] = 0.5
    """Show this share of the times of each series to the encoder, and predict the others. 1: show all and predict
    all."""
    held_out: Annotated[float, between(0, 0.5, "()")] = 0.2
    """Keep this share of the series for validation, and the same share for testing."""
    split_seed: Seed = 0
    """Draw from this seed which series are held out, and which times are shown."""
    dynamics: Literal["ode", "sde"] = "ode"
    """Let the latent state follow an ODE or an SDE."""
    latent: Size = 8
    """Entries of the latent state."""
    width: Size = 32
    """Hidden units of the field and of the decoder."""
    depth: Depth = 1
    """Number of hidden layers of the field."""
    hidden: Size = 64
    """Entries of the encoder's state."""
    observation_std: Annotated[float, above(0)] | None = None
    """Fix the model's standard deviation of an observation (default: that of --noise; 0.01 for physionet,
    0.05 for --file, whose features are scaled to 0 to 1)."""
    kl: Annotated[float, at_least(0)] = 1.0
    """Weight of the divergence from the prior at the end of training; 1 gives the lower bound of the likelihood."""
    kl_anneal: Annotated[float, between(0, 1)] = 0.1
    """Let --kl grow from 0 during this first share of training."""
    max_steps: MostSteps = 1024
    """Let an adaptive solver try at most this many steps."""

    @property
    def calculus(self) -> Calculus | None:
        """Of the latent SDE; None for a latent ODE."""
        return "ito" if self.dynamics == "sde" else None

    def __post_init__(self):
        super().__post_init__()
        if self._generated and self.observation_std is None and not self.noise > 0:
            raise UserError("latent: without noise the model's own is to be said: give observation_std")

    @property
    def _generated(self) -> bool:
        return self.file is None and self.data == "synthetic"

    def unused(self) -> dict[str, Unused]:
        """The options that change nothing beside the others."""
        data = f"with --data {self.data}" if self.file is None else "with --file"
        published = self.file is None and self.data == "physionet"
        return {
            **unless(self.file is None, ["data"], data),
            **unless(self._generated, ["samples", "noise", "data_seed"], data, "name --data synthetic"),
            **unless(published, ["data_dir"], data, "name --data physionet"),
            **unless(self.file is not None, ["series", "time", "channel", "delimiter"], data, "name a file"),
            **unless(self.kl > 0, ["kl_anneal"], "with --kl 0", "give a weight"),
        }

    def build(self) -> Latent:
        """Generates or loads the data and makes the task.

        Raises:
            UserError: If the data cannot be had or an option is out of range.
        """
        own = _OWN_STD if self.file is not None else self.noise if self._generated else _PHYSIONET_STD
        return Latent(
            "latent",
            self._splits(),
            stochastic=self.calculus is not None,
            latent=self.latent,
            width=self.width,
            depth=self.depth,
            hidden=self.hidden,
            observation_std=own if self.observation_std is None else self.observation_std,
            kl=self.kl,
            kl_anneal=self.kl_anneal,
            max_steps=self.max_steps,
        )

    def _splits(self) -> SeriesSplits:
        asked = {"share": self.observed, "held_out": self.held_out, "seed": self.split_seed}
        if self.file is not None:
            columns = SeriesColumns(series=self.series, time=self.time, channel=self.channel)
            series, names, time, summary = series_files.load_observed(self.file, columns, self.delimiter)
            parts = split(series, names, rounding=self.rounding, scaled=True, **asked)
            return parts._replace(time=time, summary=summary)
        if self.data == "synthetic":
            rounding = oscillations.ROUNDING if self.rounding is None else self.rounding
            series = oscillations.generate(self.samples, self.noise, self.data_seed)
            return split(series, oscillations.NAMES, rounding=rounding, span=oscillations.SPAN, **asked)
        rounding = physionet.ROUNDING if self.rounding is None else self.rounding
        stays = physionet.load(self.data_dir)
        return split(stays, physionet.NAMES, rounding=rounding, span=physionet.HOURS, scaled=True, **asked)

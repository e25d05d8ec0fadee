"""The options of the task "series"."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from ...data.series import aeon_sets, series_files, spirals
from ...data.series.columns import SeriesColumns
from ...data.series.controls import PathKind
from ...data.series.labelled import LabelledSplits, hold_out, split_series
from ...data.series.series_files import Target
from ...options.bounds import Depth, MostSteps, Seed, Size, WholeNumber, at_least, between
from ...options.columns import ChannelColumns, Delimiter, SeriesColumn, TimeColumns
from ...options.unused import Unused, unless
from ..options import TaskOptions
from .task import Controlled

SPIRALS = "spirals"

_COLUMNS = ("series", "time", "label", "channel")


@dataclass(frozen=True, kw_only=True)
class SeriesOptions(TaskOptions):
    """Learn a class or a number from each of your irregular time series, with a neural controlled differential
    equation."""

    example: ClassVar[str] = "--file series.csv"
    training: ClassVar[dict[str, Any]] = {"train_steps": 1000, "batch_size": 64, "lr": 3e-3}
    solver: ClassVar[dict[str, Any]] = {"stages": 2, "steps": 1}

    data: str = SPIRALS
    """Learn noisy spirals in the plane, clockwise or anticlockwise (spirals), or the classification data set of this
    name in the package aeon, such as JapaneseVowels."""
    file: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Learn your own series instead of --data: a CSV or Parquet file with a row for each time of each series. Columns
    are found by their usual names, or named below. An empty cell is a gap."""
    series: SeriesColumn = None
    time: TimeColumns = None
    label: Annotated[str | None, tyro.conf.arg(metavar="COLUMN")] = None
    """With --file: the class or the number to predict, the same in all rows of a series (default: label, class or
    target)."""
    channel: ChannelColumns = None
    delimiter: Delimiter = None
    target: Target = "auto"
    """Read the labels of --file as classes (class) or as numbers to predict (number). auto: numbers if all labels are
    numbers and at least one is not whole, else classes."""
    data_dir: Path | None = None
    """Let aeon read this folder, and download to it (default: aeon's own folder)."""
    samples: Annotated[int, at_least(10)] = 1000
    """Generate this many spirals."""
    noise: Annotated[float, at_least(0)] = 0.3
    """Add noise of this standard deviation to the spirals, whose radius is 0.3 to 1.5."""
    gaps: Annotated[float, between(0, 1, "[)")] = 0.2
    """Remove each value of the spirals with this probability."""
    data_seed: Seed = 0
    """Draw the spirals from this seed."""
    held_out: Annotated[float, between(0, 0.5, "()")] = 0.2
    """Keep this share of the series for validation, and the same share for testing; of aeon's data sets, which have a
    test part, this share of the training part for validation."""
    split_seed: Seed = 0
    """Draw from this seed which series are held out."""
    path: PathKind = "linear"
    """Connect the ends of the windows by straight lines (linear), or by cubics with a continuous derivative (cubic)."""
    windows: WholeNumber | None = None
    """Cut each series into this many windows (default: one for each interval of the longest series, at most 16). On a
    linear path a fixed-step solver takes its steps in each window."""
    log_signature: Annotated[int, between(1, 2)] = 1
    """Show the field the increment of each window (1), or its log-signature of depth two, which adds the areas between
    every two channels (2)."""
    counts: bool = False
    """Add the number of observations so far to the path, for each channel."""
    state: Size = 32
    """Entries of the state."""
    width: Size = 64
    """Hidden units of the field, and of the network that makes the first state."""
    depth: Depth = 1
    """Number of hidden layers of the field."""
    max_steps: MostSteps = 1024
    """Let an adaptive solver try at most this many steps."""

    def unused(self) -> dict[str, Unused]:
        """The options that change nothing beside the others."""
        own = self.file is not None
        drawn, archived = not own and self.data == SPIRALS, not own and self.data != SPIRALS
        data = "with --file" if own else f"with --data {self.data}"
        return {
            **unless(not own, ["data"], data),
            **unless(own, ["target", *_COLUMNS, "delimiter"], data, "give series of your own with --file"),
            **unless(archived, ["data_dir"], data, "name a data set of aeon"),
            **unless(drawn, ["samples", "noise", "gaps", "data_seed"], data, f"name --data {SPIRALS}"),
            **unless(self.path == "linear", ["log_signature"], "with --path cubic", "name --path linear"),
        }

    def build(self) -> Controlled:
        """Draws, reads or loads the data and makes the task.

        Raises:
            UserError: If the data cannot be had or an option is out of range.
        """
        return Controlled(
            "series",
            self._parts(),
            path=self.path,
            windows=self.windows,
            log_signature=self.log_signature,
            counts=self.counts,
            state=self.state,
            width=self.width,
            depth=self.depth,
            max_steps=self.max_steps,
        )

    def _parts(self) -> LabelledSplits:
        if self.file is not None:
            columns = SeriesColumns(**{name: getattr(self, name) for name in _COLUMNS})
            series, names, classes, summary = series_files.load(self.file, self.target, columns, self.delimiter)
            return split_series(series, names, classes, self.held_out, self.split_seed)._replace(summary=summary)
        if self.data == SPIRALS:
            series = spirals.generate(self.samples, self.noise, self.gaps, self.data_seed)
            return split_series(series, spirals.NAMES, spirals.CLASSES, self.held_out, self.split_seed)
        rest, test, names, classes = aeon_sets.load(self.data, self.data_dir)
        train, validation = hold_out(rest, self.held_out, self.split_seed, "held_out")
        return LabelledSplits(train, validation, test, names, classes)

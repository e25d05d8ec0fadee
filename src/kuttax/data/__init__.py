"""Data sets as NumPy arrays, their splits, and the order of samples in training."""

from .batches import BatchStream
from .dataset import Dataset, check_dataset
from .series.columns import SeriesColumns
from .series.labelled import Labelled, LabelledSplits, split_series
from .series.series import Observed, SeriesSplits
from .series.series import split as split_observed
from .series.series_files import LabelledSource, ObservedSource, load_observed
from .series.series_files import load as load_labelled
from .splits import Splits, make_splits, split_off
from .systems.columns import Columns
from .systems.systems import generate
from .systems.trajectory import Source, Trajectory
from .systems.trajectory_files import Recorded
from .systems.trajectory_files import load as load_trajectories
from .systems.windows import TrajectorySplits, split_trajectories

__all__ = [
    "BatchStream",
    "Columns",
    "Dataset",
    "Labelled",
    "LabelledSource",
    "LabelledSplits",
    "Observed",
    "ObservedSource",
    "Recorded",
    "SeriesColumns",
    "SeriesSplits",
    "Source",
    "Splits",
    "Trajectory",
    "TrajectorySplits",
    "check_dataset",
    "generate",
    "load_labelled",
    "load_observed",
    "load_trajectories",
    "make_splits",
    "split_observed",
    "split_off",
    "split_series",
    "split_trajectories",
]

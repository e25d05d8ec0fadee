"""Data sets as NumPy arrays, their splits, and the order of samples in training."""

from .batches import BatchStream
from .dataset import Dataset, check_dataset
from .files.columns import Columns
from .series.labelled import Labelled, LabelledSplits, split_series
from .splits import Splits, make_splits, split_off
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
    "LabelledSplits",
    "Recorded",
    "Source",
    "Splits",
    "Trajectory",
    "TrajectorySplits",
    "check_dataset",
    "generate",
    "load_trajectories",
    "make_splits",
    "split_off",
    "split_series",
    "split_trajectories",
]

"""Data sets as NumPy arrays, their splits, and the order of samples in training."""

from .batches import BatchStream
from .dataset import Dataset, check_dataset
from .series.labelled import Labelled, LabelledSplits, split_series
from .splits import Splits, make_splits, split_off
from .systems.systems import generate
from .systems.trajectory import Trajectory
from .systems.windows import TrajectorySplits, split_trajectories

__all__ = [
    "BatchStream",
    "Dataset",
    "Labelled",
    "LabelledSplits",
    "Splits",
    "Trajectory",
    "TrajectorySplits",
    "check_dataset",
    "generate",
    "make_splits",
    "split_off",
    "split_series",
    "split_trajectories",
]

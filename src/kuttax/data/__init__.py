"""Data sets as NumPy arrays, their splits, and the order in which training sees them."""

from .batches import BatchStream
from .dataset import Dataset, check_dataset
from .splits import Splits, make_splits, split_off

__all__ = ["BatchStream", "Dataset", "Splits", "check_dataset", "make_splits", "split_off"]

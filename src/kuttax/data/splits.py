"""Train, validation and test: choose on validation, report test once."""

from typing import NamedTuple

import numpy as np

from ..errors import UserError
from .dataset import Dataset


class Splits(NamedTuple):
    """Three disjoint data sets.

    Attributes:
        train: For fitting the parameters.
        validation: For choices (steps, solver, stopping).
        test: Reported, once.
    """

    train: Dataset
    validation: Dataset
    test: Dataset


def make_splits(train: Dataset, test: Dataset, *, validation_fraction: float = 0.2, seed: int = 0) -> Splits:
    """Takes the validation set out of `train` and leaves `test` alone.

    Args:
        train: The official training set.
        test: The official test set.
        validation_fraction: Share of `train` that becomes the validation set, in (0, 1).
        seed: Draws the validation samples; the same seed gives the same split.

    Raises:
        UserError: As `split_off`.
    """
    rest, validation = split_off(train, validation_fraction, seed, name="validation")
    return Splits(rest, validation, test)


def split_off(dataset: Dataset, fraction: float, seed: int, *, name: str = "split") -> tuple[Dataset, Dataset]:
    """Splits `dataset` in two at random; integer targets are stratified, so that both parts have the same class shares.

    Args:
        dataset: `n` samples.
        fraction: Share of the samples in the second part, in (0, 1).
        seed: Draws the samples of the second part.
        name: The fraction's name in messages.

    Returns:
        The rest and the part that was split off.

    Raises:
        UserError: If the fraction is outside (0, 1), or leaves a part or one of its classes without samples.
    """
    if not 0.0 < fraction < 1.0:
        raise UserError(f"{name} fraction must lie in (0, 1), got {fraction}; 0.2 is usual")
    from sklearn.model_selection import train_test_split  # not at the top: kuttax would take twice as long to import

    stratify = dataset.y if _is_class_number(dataset.y) else None
    try:
        rest, part = train_test_split(
            np.arange(len(dataset.y)), test_size=fraction, random_state=seed, shuffle=True, stratify=stratify
        )
    except ValueError as error:
        raise UserError(
            f"{name} fraction {fraction} of {len(dataset.y)} samples cannot be split off: {_first_sentence(error)}; "
            "give more samples or another fraction"
        ) from error
    # Sorted, so that only BatchStream decides the order of samples in training.
    rest, part = np.sort(rest), np.sort(part)
    return Dataset(dataset.x[rest], dataset.y[rest]), Dataset(dataset.x[part], dataset.y[part])


def _is_class_number(y: np.ndarray) -> bool:
    return y.ndim == 1 and np.issubdtype(y.dtype, np.integer)


def _first_sentence(error: Exception) -> str:
    return " ".join(str(error).split()).split(". ")[0].rstrip(".")

"""Data sets of the package aeon: the classification archives of UCR and UEA (Middlehurst et al., JMLR 2024)."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import UserError
from ...extras import imported
from .labelled import Labelled, padded


def load(name: str, data_dir: str | Path | None = None) -> tuple[Labelled, Labelled, tuple[str, ...], tuple[str, ...]]:
    """The official training and test series of a data set, the names of its channels and of its classes.

    Some sets come with the package, such as BasicMotions, GunPoint and JapaneseVowels; aeon downloads the others once.
    These sets have no times: observations are one unit of time apart.

    Args:
        name: A name of the archives.
        data_dir: The directory that aeon reads from, and downloads to; None for its own.

    Raises:
        UserError: aeon is not installed, or cannot load a classification data set of this name.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets: Any = imported("aeon.datasets", of="aeon", extra="aeon", needs=f"--data {name}")
    folder = None if data_dir is None else str(data_dir)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parts = [datasets.load_classification(name, split=part, extract_path=folder) for part in ("train", "test")]
    except Exception as error:  # aeon raises what it meets: of the network, of files, of names
        text = " ".join(str(error).split())
        raise UserError(
            f"aeon has no classification data set {name!r} ({text}): look for the name's spelling"
        ) from None
    known = sorted({str(label) for _, labels in parts for label in labels}, key=_in_order)
    train, test = (_labelled(x, labels, known) for x, labels in parts)
    names = tuple(f"x{i + 1}" for i in range(train.values.shape[2]))
    return train, test, names, tuple(known)


def _labelled(series: Any, labels: Any, known: list[str]) -> Labelled:
    """aeon's series, `(channels, length)` each."""
    values = [np.asarray(x, np.float64).T for x in series]
    y = np.array([known.index(str(label)) for label in labels], np.int32)
    return padded([np.arange(len(x), dtype=np.float64) for x in values], values, y)


def _in_order(label: str) -> tuple[float, str]:
    """Numbers by their size, before texts."""
    return (float(label), label) if label.replace(".", "", 1).lstrip("-").isdigit() else (np.inf, label)

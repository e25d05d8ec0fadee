"""Reconstruction: a latent model's predictions of a few series, beside their observations, from a saved run."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .figure import INK, Axes, Line2D, Patch, area_entry, figure, files, line_entry

_COLOUR, _HELD_OUT = "#0072B2", "#D55E00"


def plot(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Draw the contents of `reconstruction.npz`: a row for each feature, a column for each series.

    Args:
        path: of the NPZ file, with the arrays of `kuttax.tasks.latent.reconstruction.Reconstruction`.

    Returns:
        The two files written, beside it: `.png` (150 dpi) and `.svg`.
    """
    with np.load(path) as file:
        found = dict(file)
    series, _, features = found["mean"].shape
    with figure(3.3 * series + 0.5, 1.7 * features + 1.0, path) as canvas:
        every = canvas.subplots(features, series, sharex=True, sharey="row", squeeze=False)
        for (feature, one), axes in np.ndenumerate(every):
            _draw(axes, found, one, feature)
        for feature, name in enumerate(found["names"]):
            every[feature, 0].set_ylabel(str(name))
        for one in range(series):
            every[0, one].set_title(f"test series {one + 1}")
            every[-1, one].set_xlabel(str(found.get("time", "time")))
        canvas.legend(handles=_legend(), loc="outside lower center", ncols=4, fontsize=9)
    return files(path)


def _draw(axes: Axes, found: Mapping[str, np.ndarray], one: int, feature: int) -> None:
    """A feature of a series: its mean, its 5 % to 95 % band, and its observations."""
    times, pick = found["times"], (one, slice(None), feature)
    axes.fill_between(times, found["low"][pick], found["high"][pick], color=_COLOUR, alpha=0.2, lw=0)
    axes.plot(times, found["mean"][pick], color=_COLOUR, lw=1.5)
    mask, seen = found["mask"][pick], found["seen"][one]
    t, x = times[found["index"][one]], found["x"][pick]
    axes.plot(t[mask & seen], x[mask & seen], "o", color=INK, ms=4)
    axes.plot(t[mask & ~seen], x[mask & ~seen], "o", mfc="none", mec=_HELD_OUT, ms=4.5)
    axes.margins(x=0.02)


def _legend() -> list[Line2D | Patch]:
    return [
        line_entry("reconstruction", color=_COLOUR, lw=1.5),
        area_entry("5 to 95 % of draws", color=_COLOUR, alpha=0.2, lw=0),
        line_entry("shown", color=INK, marker="o", ls="", ms=4),
        line_entry("held out", mfc="none", mec=_HELD_OUT, marker="o", ls="", ms=4.5),
    ]

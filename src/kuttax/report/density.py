"""Density: a learned density in the plane, beside samples of it and of the data, from the numbers a run saved."""

import os
from pathlib import Path

import numpy as np

from .figure import Axes, figure, files

_COLOUR = "#0072B2"


def plot(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Draw the contents of `density.npz`.

    Args:
        path: of the NPZ file: `x`, `y` (m,), `log_density` (m, m) in nats, `samples` and `data` (n, 2), and the `names`
            of x and y if they have some.

    Returns:
        The two files written, beside it: `.png` (150 dpi) and `.svg`.
    """
    with np.load(path) as found:
        x, y, log_density = found["x"], found["y"], found["log_density"]
        names = [str(name) for name in found.get("names", ())]
        clouds = {"samples of the model": found["samples"], "data": found["data"]}
    with figure(10.5, 3.7, path) as canvas:
        heat, *others = canvas.subplots(1, 3, sharex=True, sharey=True)
        half = np.array([x[1] - x[0], y[1] - y[0]]) / 2
        extent = (x[0] - half[0], x[-1] + half[0], y[0] - half[1], y[-1] + half[1])
        look = {"origin": "lower", "extent": extent, "cmap": "viridis", "interpolation": "nearest", "aspect": "auto"}
        heat.imshow(np.exp(log_density), **look)
        heat.set_title("density of the field")
        for axes, (name, points) in zip(others, clouds.items(), strict=True):
            _draw_cloud(axes, points, name)
        for axes in (heat, *others):
            axes.set_aspect("auto" if names else "equal")  # columns with names have units of their own
            axes.set_xlabel(names[0] if names else "")
            axes.grid(False)
        heat.set_ylabel(names[1] if names else "")
        heat.set_xlim(extent[:2])
        heat.set_ylim(extent[2:])
    return files(path)


def _draw_cloud(axes: Axes, points: np.ndarray, title: str) -> None:
    axes.scatter(*points.T, s=np.clip(1000 / len(points), 2, 12), color=_COLOUR, alpha=0.5, lw=0, rasterized=True)
    axes.set_title(title)

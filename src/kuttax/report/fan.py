"""Fan: bands of a model's trajectories against time beside those of the data, from the numbers a run saved."""

import os
from pathlib import Path

import numpy as np

from .figure import INK, Axes, figure, files

_COLOUR = "#0072B2"


def plot(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Draw the contents of `fan.npz`: a panel for each component.

    Args:
        path: of the NPZ file: `times` (times,), `levels` (odd, rising), `model` and `data` (levels, times, d), `few`
            (n, times, d).

    Returns:
        The two files written, beside it: `.png` (150 dpi) and `.svg`.
    """
    with np.load(path) as found:
        times, levels, model, data, few = (found[name] for name in ("times", "levels", "model", "data", "few"))
    components = model.shape[2]
    with figure(7.6, 1.2 + 2.4 * components, path) as canvas:
        panels = canvas.subplots(components, sharex=True, squeeze=False)[:, 0]
        for i, axes in enumerate(panels):
            _component(axes, times, levels, model[..., i], data[..., i], few[..., i])
            axes.set_ylabel(f"x{i + 1}")
            axes.margins(x=0.01)
        panels[0].set_title("Trajectories of the model and of the data")
        panels[-1].set_xlabel("time")
        canvas.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9)
    return files(path)


def _component(
    axes: Axes, times: np.ndarray, levels: np.ndarray, model: np.ndarray, data: np.ndarray, few: np.ndarray
) -> None:
    """Bands between the outermost quantiles, the next ones, and so on; the median as a line; the data's as dashes."""
    axes.plot(times, few.T, color=_COLOUR, lw=0.5, alpha=0.35)
    middle = len(levels) // 2
    for i in range(middle):
        share = f"{100 * (levels[-1 - i] - levels[i]):.0f} %"
        axes.fill_between(times, model[i], model[-1 - i], color=_COLOUR, alpha=0.18, lw=0, label=f"model, {share}")
        axes.plot(times, data[i], color=INK, lw=1.0, ls=[":", (0, (4, 2))][i % 2], label=f"data, {share}")
        axes.plot(times, data[-1 - i], color=INK, lw=1.0, ls=[":", (0, (4, 2))][i % 2])
    axes.plot(times, model[middle], color=_COLOUR, lw=1.8, label="model, median")
    axes.plot(times, data[middle], color=INK, lw=1.2, label="data, median")

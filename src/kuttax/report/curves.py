"""Curves: loss and NFE during training, step by step."""

import functools
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..io import records
from ..io.folder import Folder
from ..io.shape import NUMBER
from .comparison import spread
from .figure import Axes, figure, files, fix_ticks, line_entry, round_ticks
from .method import styles

NAME = "metrics.jsonl"
"""The file of a run that contains its curves."""

_LINE = {"step?": int, "loss?": NUMBER, "nfe?": NUMBER}
_DASHES = ["-", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1))]


class Group(NamedTuple):
    """The runs of one row, one for each seed.

    Attributes:
        label: the row's name.
        series: the key of its colour.
        runs: for each run the lines of its `metrics.jsonl`: `{"step": ..., "loss": ..., "nfe": ...}`.
    """

    label: str
    series: str
    runs: Sequence[Sequence[Mapping[str, Any]]]


def read(folder: Path) -> list[records.Record]:
    """The lines of a run's metrics.

    Raises:
        UserError: They are damaged.
    """
    check = functools.partial(Folder(folder, "report").check, NAME, "run the comparison again", grown=True)
    return records.read(folder / NAME, lambda _: _LINE, check)


def training_curves(groups: Sequence[Group], path: str | os.PathLike[str]) -> tuple[Path, Path] | None:
    """Draw loss and NFE against the training step: each seed thin, the mean of a group in bold.

    Args:
        groups: lines without a step, and values that are missing or not finite, are left out.
        path: of the picture; its suffix is replaced by `.png` (150 dpi) and `.svg`.

    Returns:
        The two files written; None if no run has a point to draw.
    """
    panels = [name for name in ("loss", "nfe") if any(_curve(run, name)[0] for group in groups for run in group.runs)]
    if not panels:
        return None
    found = looks([group.series for group in groups])
    with figure(7.6, 0.8 + 2.5 * len(panels) + 0.12 * len(groups), path) as canvas:
        every = canvas.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
        for axes, name in zip(every, panels, strict=True):
            for group, look in zip(groups, found, strict=True):
                _draw_group(axes, [_curve(run, name) for run in group.runs], *look)
            axes.set_ylabel({"loss": "training loss", "nfe": "NFE a forward pass"}[name])
            axes.margins(x=0.01)
            if all(value > 0 for line in axes.lines for value in np.asarray(line.get_ydata(), float)):
                _log_axis(axes, base=10 if name == "loss" else 2)
        every[0].set_title("Training")
        every[-1].set_xlabel("training step")
        handles = [
            line_entry(_short(group.label), color=colour, ls=dash, lw=1.8)
            for group, (colour, dash) in zip(groups, found, strict=True)
        ]
        canvas.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=9)
    return files(path)


def looks(series: Sequence[str]) -> list[tuple[str, Any]]:
    """Colour by series, dash by a line's position among those of its colour."""
    style = styles(series)
    colours = [style[name].colour for name in series]
    return [(colour, _DASHES[colours[:i].count(colour) % len(_DASHES)]) for i, colour in enumerate(colours)]


def _curve(lines: Sequence[Mapping[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Steps and finite values of one quantity."""
    pairs = [(line.get("step"), spread([line.get(name)]).mean) for line in lines]
    kept = [(float(step), value) for step, value in pairs if isinstance(step, int | float) and value is not None]
    return [step for step, _ in kept], [value for _, value in kept]


def _draw_group(axes: Axes, curves: Sequence[tuple[list[float], list[float]]], colour: str, dash: Any) -> None:
    """Each seed thin, and in bold the mean over them at each step."""
    at: dict[float, list[float]] = {}
    for steps, values in curves:
        for step, value in zip(steps, values, strict=True):
            at.setdefault(step, []).append(value)
        if len(curves) > 1:
            axes.plot(*_thinned(steps, values), color=colour, lw=0.7, alpha=0.3)
    steps = sorted(at)
    means = [sum(at[step]) / len(at[step]) for step in steps]
    axes.plot(*_thinned(steps, means), color=colour, ls=dash, lw=1.8, marker="o" if len(steps) == 1 else None)


def _thinned(steps: Sequence[float], values: Sequence[float], most: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """At most `most` points: means over blocks of neighbours, as fine as the plot can show."""
    x, y = np.asarray(steps, float), np.asarray(values, float)
    if len(x) <= most:
        return x, y
    blocks = np.array_split(np.arange(len(x)), most)
    return np.array([x[block].mean() for block in blocks]), np.array([y[block].mean() for block in blocks])


def _log_axis(axes: Axes, base: int) -> None:
    """A log axis with plain numbers as labels."""
    axes.set_yscale("log", base=base)
    low, high = axes.get_ylim()
    if base == 2:
        ticks = [2.0**k for k in range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)]
        ticks = ticks if len(ticks) > 2 else round_ticks(low, high)
    else:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [m * 10.0**k for k in decades for m in (1, 2, 5) if low <= m * 10.0**k <= high]
    ticks = ticks[:: max(1, math.ceil(len(ticks) / 7))]
    fix_ticks(axes.yaxis, ticks, [f"{tick:g}" for tick in ticks])


def _short(name: str, most: int = 48) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"

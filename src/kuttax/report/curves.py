"""Curves: what happened during training, loss and NFE step by step."""

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from kuttax.report.comparison import spread
from kuttax.report.figure import figure, files
from kuttax.report.method import styles

_DASHES = ["-", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1))]


def training_curves(
    metrics_by_run: Mapping[str, Sequence[Mapping[str, Any]]], path: str | os.PathLike[str]
) -> tuple[Path, Path] | None:
    """Draw loss and NFE against the training step.

    Runs whose names differ only in their seed ("learned-4x2-seed0", "learned-4x2-seed1") share a colour: each seed
    thin, their mean in bold.

    Args:
        metrics_by_run: for each run the lines of its `metrics.jsonl`: `{"step": ..., "loss": ..., "nfe": ...}`. Lines
            without a step, and values that are missing or not finite, are left out.
        path: of the picture; its suffix is replaced by `.png` (150 dpi) and `.svg`.

    Returns:
        The two files written; None where no run has a point to draw.
    """
    groups = _by_group(metrics_by_run)
    panels = [name for name in ("loss", "nfe") if any(_curve(run, name)[0] for runs in groups.values() for run in runs)]
    if not panels:
        return None
    look = _group_looks(groups)
    with figure(7.6, 0.8 + 2.5 * len(panels) + 0.12 * len(groups), path) as canvas:
        every = canvas.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
        for axes, name in zip(every, panels, strict=True):
            for group, runs in groups.items():
                _draw_group(axes, [_curve(run, name) for run in runs], *look[group])
            axes.set_ylabel({"loss": "training loss", "nfe": "NFE a forward pass"}[name])
            axes.margins(x=0.01)
            if all(value > 0 for line in axes.lines for value in np.asarray(line.get_ydata(), float)):
                _log_axis(axes, base=10 if name == "loss" else 2)
        every[0].set_title("Training")
        every[-1].set_xlabel("training step")
        handles = [Line2D([], [], color=look[g][0], ls=look[g][1], lw=1.8, label=_short(g)) for g in groups]
        canvas.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9)
    return files(path)


def _by_group(metrics_by_run: Mapping[str, Sequence[Any]]) -> dict[str, list[Sequence[Any]]]:
    """Runs by their name without its seed."""
    groups: dict[str, list[Sequence[Any]]] = {}
    for name in sorted(metrics_by_run, key=_natural):
        groups.setdefault(re.sub(r"[-_ ,]*\(?seed[-_ =]?\d+\)?$", "", name) or name, []).append(metrics_by_run[name])
    return groups


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts "rk4-8" before "rk4-12"."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _group_looks(groups: Iterable[str]) -> dict[str, tuple[str, Any]]:
    """Colour by method (the name's first word), dash by the group's place among those of its method."""
    method_of = {group: re.split(r"[-_ ]", group)[0].lower() for group in groups}
    look = styles(method_of.values())
    looks: dict[str, tuple[str, Any]] = {}
    for group, method in method_of.items():
        place = sum(method_of[earlier] == method for earlier in looks)
        looks[group] = (look[method].colour, _DASHES[place % len(_DASHES)])
    return looks


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
    """At most so many points: means over blocks of neighbours, as fine as the picture can show."""
    x, y = np.asarray(steps, float), np.asarray(values, float)
    if len(x) <= most:
        return x, y
    blocks = np.array_split(np.arange(len(x)), most)
    return np.array([x[block].mean() for block in blocks]), np.array([y[block].mean() for block in blocks])


def _log_axis(axes: Axes, base: int) -> None:
    """A log axis with plain numbers on it."""
    axes.set_yscale("log", base=base)
    low, high = axes.get_ylim()
    if base == 2:
        ticks = [2.0**k for k in range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)]
    else:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [m * 10.0**k for k in decades for m in (1, 2, 5) if low <= m * 10.0**k <= high]
    ticks = ticks[:: max(1, math.ceil(len(ticks) / 7))]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in ticks]))
    axes.yaxis.set_minor_locator(NullLocator())


def _short(name: str, most: int = 34) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"

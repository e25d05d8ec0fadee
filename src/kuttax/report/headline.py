"""Headline: the cost of a prediction by each method as a bar, and beside it what the prediction is worth."""

import os
from collections.abc import Sequence
from pathlib import Path

from .column import count
from .comparison import ComparisonRow
from .figure import INK, Axes, figure, files
from .method import styles

_MOST = 8  # rows that are drawn
_BARS = 0.36  # share of the width that the bars have


def plot(rows: Sequence[ComparisonRow], path: str | os.PathLike[str]) -> tuple[Path, Path] | None:
    """Draw the number of function evaluations (NFE) of a prediction, the test metric, and whether it needs its solver.

    Args:
        rows: from `comparison.summarise`; those without a finite test value and NFE are not drawn.
        path: of the picture; its suffix is replaced by `.png` (150 dpi) and `.svg`.

    Returns:
        The two files written; None if there are fewer than two rows to draw.
    """
    drawn = [row for row in rows if row.test.mean is not None and row.nfe.mean is not None][:_MOST]
    if len(drawn) < 2:
        return None
    with figure(9.0, 1.3 + 0.42 * len(drawn), path) as canvas:
        axes = canvas.add_subplot()
        axes.set_title(f"{drawn[0].task}: evaluations of the model for one prediction")
        _bars(axes, drawn)
        for place, (header, cells) in zip((0.45, 0.64, 0.84), _columns(drawn).items(), strict=False):
            for height, text in enumerate([header, *cells], start=-1):
                weight = "bold" if height < 0 else "normal"
                axes.text(place, height, text, transform=axes.get_yaxis_transform(), va="center", weight=weight)
    return files(path)


def _bars(axes: Axes, rows: Sequence[ComparisonRow]) -> None:
    look = styles(row.series for row in rows)
    values = [row.nfe.mean or 0.0 for row in rows]
    axes.barh(range(len(rows)), values, color=[look[row.series].colour for row in rows], height=0.62)
    for height, value in enumerate(values):
        axes.annotate(count(value), (value, height), (5, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.5, -1.6)
    axes.set_xlim(0, max(values) / _BARS)
    axes.set_xticks([])
    axes.tick_params(left=False)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.axvline(0, ymax=len(rows) / (len(rows) + 1.1), color=INK, lw=0.8)


def _columns(rows: Sequence[ComparisonRow]) -> dict[str, list[str]]:
    """The texts beside the bars: the metric, that of the field solved by the reference, and the certificates."""
    metric = rows[0].metric
    number = lambda value: "-" if value is None else f"{value:.4g}" + (" %" if metric.unit == "%" else "")
    name = f"test {metric.name}" + (f" ({metric.unit})" if metric.unit not in ("", "%") else "")
    found = {name: [number(row.test.mean) for row in rows]}
    if any(row.test_reference.mean is not None for row in rows):
        found["solved exactly"] = [number(row.test_reference.mean) for row in rows]
    if any(row.verdicts for row in rows):
        found["still an ODE"] = [f"{row.verdicts.count('valid')} of {len(row.verdicts)}" for row in rows]
    return found

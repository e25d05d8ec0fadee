"""Sweep: the validation metric against the value of each option that a sweep varies."""

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..options.look import COLOURS
from .column import best_row
from .comparison import ComparisonRow
from .figure import INK, Axes, figure, files, fix_ticks, line_entry

_LONGEST = 18  # characters of a value on the axis
_ROOM = 0.06  # share of the axis that two labels are apart at least
_DECADE = 8.0  # largest over smallest value from which the axis is logarithmic


def plot(rows: Sequence[ComparisonRow], path: str | os.PathLike[str]) -> tuple[Path, Path] | None:
    """Draw a panel for each varied option: thin lines for the combinations of the others, a bold one for their mean.

    Args:
        rows: from `comparison.summarise`; those without a finite validation value are not drawn.
        path: of the picture; its suffix is replaced by `.png` (150 dpi) and `.svg`.

    Returns:
        The two files written; None if no run gave a value.
    """
    drawn = [row for row in rows if row.validation.mean is not None]
    if not drawn:
        return None
    names, metric, best = list(drawn[0].options), drawn[0].metric, best_row(rows)
    with figure(max(4.8, 3.6 * len(names)), 4.2, path) as canvas:
        panels = canvas.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, names, strict=True):
            _panel(axes, name, drawn, best)
        unit = f" ({metric.unit})" if metric.unit else ""
        panels[0].set_ylabel(
            f"validation {metric.name}{unit}\n{'higher' if metric.higher_is_better else 'lower'} is better"
        )
        canvas.suptitle(
            f"{drawn[0].task}: validation {metric.name} of {len(drawn)} combinations", x=0.01, ha="left", weight="bold"
        )
        handles = [
            line_entry(
                "one combination of the others, mean of its seeds", color=INK, lw=0.8, alpha=0.45, marker=".", ms=5
            ),
            line_entry("mean of all", color=COLOURS["blue"], lw=2.4, marker="o", ms=5),
            line_entry("best", color=COLOURS["vermilion"], ls="", marker="o", ms=10, mfc="none", mew=2),
        ]
        canvas.legend(handles=handles, loc="outside lower center", ncols=len(handles) if len(names) > 1 else 1)
    return files(path)


def _panel(axes: Axes, name: str, rows: Sequence[ComparisonRow], best: ComparisonRow | None) -> None:
    """The metric against the values of one option."""
    values = list(dict.fromkeys(row.options[name] for row in rows))
    at, logarithmic = places(values)
    for line in _lines(name, rows):
        points = sorted((at[row.options[name]], row.validation.mean or 0.0) for row in line)
        axes.plot(*zip(*points, strict=True), color=INK, lw=0.8, alpha=0.45, marker=".", ms=5)
    means = {place: _mean([row for row in rows if row.options[name] == value]) for value, place in at.items()}
    axes.plot(*zip(*sorted(means.items()), strict=True), color=COLOURS["blue"], lw=2.4, marker="o", ms=5, zorder=3)
    if best is not None:
        ring = {"marker": "o", "ms": 12, "mfc": "none", "mec": COLOURS["vermilion"], "mew": 2, "ls": "", "zorder": 4}
        axes.plot([at[best.options[name]]], [best.validation.mean or 0.0], **ring)
    if logarithmic:
        axes.set_xscale("log")
    short = [_short(value) for value in values]
    fix_ticks(axes.xaxis, [at[value] for value in values], short)
    if sum(map(len, short)) > 2 * _LONGEST:
        for label in axes.get_xticklabels():
            label.set(rotation=35, ha="right", rotation_mode="anchor")
    axes.set_xlabel(name)


def places(values: Sequence[str]) -> tuple[Mapping[str, float], bool]:
    """Where the values of an option stand on its axis, and whether the axis is logarithmic.

    Numbers stand at their values if their labels have room there. Otherwise all values stand side by side.
    """
    side_by_side = {value: float(i) for i, value in enumerate(values)}
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return side_by_side, False
    wide = min(numbers) > 0 and max(numbers) >= _DECADE * min(numbers)
    at = sorted(math.log(number) if wide else number for number in numbers)
    if any(after - before < _ROOM * (at[-1] - at[0]) or before == after for before, after in itertools.pairwise(at)):
        return side_by_side, False
    return dict(zip(values, numbers, strict=True)), wide


def _short(value: str) -> str:
    """A value as a label: its beginning and its end, without signs that would be set as a formula."""
    kept = value if len(value) <= _LONGEST else f"{value[: _LONGEST // 2]}…{value[-_LONGEST // 2 :]}"
    return kept.replace("$", r"\$")


def _lines(name: str, rows: Sequence[ComparisonRow]) -> list[list[ComparisonRow]]:
    """The rows that differ in this option alone, together."""
    groups: dict[tuple[str, ...], list[ComparisonRow]] = {}
    for row in rows:
        groups.setdefault(tuple(value for other, value in row.options.items() if other != name), []).append(row)
    return list(groups.values())


def _mean(rows: Sequence[ComparisonRow]) -> float:
    return sum(row.validation.mean or 0.0 for row in rows) / len(rows)

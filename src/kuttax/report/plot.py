"""Plot: the test metric of each method against the cost of a prediction."""

import math
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from .column import count
from .comparison import ComparisonRow
from .figure import INK, PAPER, Axes, Figure, figure, files, fix_ticks, line_entry, round_ticks
from .method import Style, styles

_MARGIN = 0.45  # octaves beyond the least and the greatest NFE
_TOUCHING = 0.02  # share of the width within which points would cover each other
_LEGIBLE = 0.22  # octaves that two tick labels must be apart


def accuracy_against_nfe(rows: Sequence[ComparisonRow], path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Draw the test metric of each row against its number of function evaluations (NFE) of prediction.

    Filled: solved by the method's own solver, mean with sample standard deviation over seeds. Hollow, on a thin line
    below or above it: the same field re-solved by the reference. The baseline is also a horizontal line with its band
    of one standard deviation. A hollow point far off the others is drawn at the edge as an arrow with its value.

    Args:
        rows: from `comparison.summarise`; those without a finite test value and NFE are not drawn.
        path: of the picture; its suffix is replaced by `.png` (150 dpi) and `.svg`.

    Returns:
        The two files written.
    """
    drawn = [row for row in rows if row.test.mean is not None and row.nfe.mean is not None and row.nfe.mean > 0]
    look = styles(row.series for row in rows)
    with figure(7.6, 5.0 + 0.1 * max(0, len(look) - 4), path) as canvas:
        axes = canvas.add_subplot()
        if drawn:
            _draw_rows(axes, drawn, look)
            _legend(canvas, drawn, look)
        else:
            axes.text(0.5, 0.5, "no run gave a finite test value", ha="center", va="center", transform=axes.transAxes)
            axes.set_axis_off()
    return files(path)


def _draw_rows(axes: Axes, rows: Sequence[ComparisonRow], look: Mapping[str, Style]) -> None:
    _nfe_axis(axes, rows)
    low, high = _metric_axis(axes, rows)
    for row in rows:
        if row.is_baseline:
            _draw_band(axes, row, look[row.series])
    for row, x in zip(rows, _positions(rows), strict=True):
        _draw_point(axes, row, x, look[row.series], low, high)


def _nfe_axis(axes: Axes, rows: Sequence[ComparisonRow]) -> None:
    """A log-2 axis whose ticks are the NFEs that occur, fixed budgets first if labels would touch.

    If several solvers choose their own NFE, the ticks are round numbers, since a mean NFE makes no useful tick.
    """
    values = {row.nfe.mean: row.budget is None for row in rows if row.nfe.mean is not None}
    low, high = min(values) / 2**_MARGIN, max(values) * 2**_MARGIN
    ticks: list[float] = round_ticks(low, high) if len(values) > 1 and all(values.values()) else []
    for value in [] if ticks else sorted(values, key=lambda v: (values[v], v)):
        if all(abs(math.log2(value / tick)) >= _LEGIBLE for tick in ticks):
            ticks.append(value)
    axes.set_xscale("log", base=2)
    axes.set_xlim(low, high)
    fix_ticks(axes.xaxis, sorted(ticks), [count(tick) for tick in sorted(ticks)])
    axes.set_xlabel("number of function evaluations (NFE) of one prediction")


def _metric_axis(axes: Axes, rows: Sequence[ComparisonRow]) -> tuple[float, float]:
    """Limits that show every own value with its spread, and the re-solved values that are not far from them."""
    metric = rows[0].metric
    own = [(row.test.mean, row.test.sd or 0.0) for row in rows if row.test.mean is not None]
    ends = [mean + side * sd for mean, sd in own for side in (-1, 1)]
    least = 1.0 if metric.unit == "%" else 0.02 * max(map(abs, ends))  # below it a difference is noise, not a picture
    span = max(max(ends) - min(ends), least, 1e-12)
    near = [row.test_reference.mean for row in rows if row.test_reference.mean is not None]
    near = [value for value in near if min(ends) - span < value < max(ends) + span]
    middle = (max(ends + near) + min(ends + near)) / 2
    half = 0.62 * max(max(ends + near) - min(ends + near), least)
    axes.set_ylim(middle - half, middle + half)
    axes.set_ylabel(f"test {metric.name}" + (f" ({metric.unit})" if metric.unit else ""))
    axes.set_title(f"{rows[0].task}: test {metric.name} against the cost of a prediction")
    axes.grid(axis="x", visible=False)
    return middle - half, middle + half


def _positions(rows: Sequence[ComparisonRow]) -> list[float]:
    """The NFE of each row, slightly shifted if several rows have almost the same."""
    octaves = [math.log2(row.nfe.mean or 1.0) for row in rows]
    width = max(octaves) - min(octaves) + 2 * _MARGIN
    groups: list[list[int]] = []
    for i in sorted(range(len(rows)), key=octaves.__getitem__):  # stable: rows of one NFE keep their order
        if groups and octaves[i] - octaves[groups[-1][0]] < _TOUCHING * width:
            groups[-1].append(i)
        else:
            groups.append([i])
    places = [sum(octaves[i] for i in group) / len(group) for group in groups]
    room = [0.85 * (after - before) for before, after in pairwise(places)]
    widest = max(len(group) for group in groups)
    apart = min([0.03 * width, *(gap / widest for gap in room)])
    positions = [0.0] * len(rows)
    for place, group in zip(places, groups, strict=True):
        for k, i in enumerate(group):
            positions[i] = 2 ** (place + apart * (k - (len(group) - 1) / 2))
    return positions


def _draw_band(axes: Axes, row: ComparisonRow, style: Style) -> None:
    mean, sd = row.test.mean or 0.0, row.test.sd or 0.0
    axes.axhspan(mean - sd, mean + sd, color=style.colour, alpha=0.14, lw=0, zorder=0.5)
    axes.axhline(mean, color=style.colour, lw=1.0, ls=(0, (5, 3)), zorder=0.6)


def _draw_point(axes: Axes, row: ComparisonRow, x: float, style: Style, low: float, high: float) -> None:
    """A row's own value with its spread, and the re-solved value as a hollow point beside it."""
    colour, own, reference = style.colour, row.test, row.test_reference.mean
    assert own.mean is not None
    axes.errorbar(x, own.mean, yerr=own.sd, fmt=style.marker, color=colour, ms=7, capsize=3, elinewidth=1.4, zorder=4)
    if reference is None:
        return
    if low < reference < high:
        axes.plot([x, x], [own.mean, reference], color=colour, lw=0.8, zorder=2)
        axes.plot(x, reference, style.marker, ms=7, mfc=PAPER, mec=colour, mew=1.3, zorder=3)
        return
    edge, arrow = (low, "v") if reference <= low else (high, "^")
    inside = edge + (0.035 if arrow == "v" else -0.035) * (high - low)
    axes.plot([x, x], [own.mean, inside], color=colour, lw=0.8, ls=":", zorder=2)
    axes.plot(x, inside, arrow, ms=7, mfc=PAPER, mec=colour, mew=1.3, zorder=3)
    text = f"{reference:.1f}" if row.metric.unit == "%" else f"{reference:.3g}"
    axes.annotate(
        text,
        (x, inside),
        xytext=(-2, 7 if arrow == "v" else -7),
        textcoords="offset points",
        rotation=90,  # upright, so that neighbours of the same NFE have room
        ha="right",
        va="bottom" if arrow == "v" else "top",
        fontsize=7.5,
        color=colour,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.4},
        zorder=5,
    )


def _legend(figure: Figure, rows: Sequence[ComparisonRow], look: Mapping[str, Style]) -> None:
    by_penalty = rows[0].varied == "penalty"
    present = {row.series: row.label if by_penalty else look[row.series].name for row in rows}
    base = next((row.series for row in rows if row.is_baseline), None)
    handles = [
        line_entry(
            label + (", baseline" if name == base else ""),
            color=look[name].colour,
            marker=look[name].marker,
            ms=7,
            ls=(0, (5, 3)) if name == base else "",
            lw=1.0,
        )
        for name, label in present.items()
    ]
    if any(row.test_reference.mean is not None for row in rows):
        hollow = {"color": INK, "marker": "o", "ms": 7, "mfc": PAPER, "mew": 1.3, "ls": ""}
        handles.append(line_entry(f"re-solved by {rows[0].reference}", **hollow))
    columns = 2 if by_penalty else len(handles) if len(handles) <= 5 else 3  # the labels of penalties are long
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, handletextpad=0.4)

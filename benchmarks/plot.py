"""plot: pictures of the records."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator, StrMethodFormatter

from kuttax.io.records import Record
from kuttax.report.figure import INK, PAPER, figure, files

from .results import Results, each, seconds

_LOOK = {
    "kuttax": ("#D55E00", "o"),
    "limit": ("#6B6B6B", "|"),
    "limit-stored": ("#A6A6B0", "|"),
    "diffrax": ("#0072B2", "s"),
    "diffrax-tuned": ("#56B4E9", "s"),
    "torchdiffeq": ("#009E73", "^"),
    "torchdiffeq-adjoint": ("#30C79B", "v"),
    "torchode": ("#CC79A7", "D"),
    "kuttax-stages": ("#E69F00", "P"),
    "kuttax-steps": ("#7A5195", "X"),
    "kuttax-reversible": ("#1b1b1e", "h"),
    "kuttax-learned": ("#E69F00", "p"),
    "kuttax-learned-table": ("#7A5195", "*"),
    "torch-loop": ("#F0E442", "<"),
}
"""Colour (Okabe and Ito's, as far as they go) and marker of each library."""

_COMPILED = ("kuttax", "diffrax")
_AXES = {"steps": "steps", "batch": "batch size", "width": "width of the hidden layers"}


def draw(results: Results, folder: Path) -> list[Path]:
    """Every picture that the records allow, as PNG and SVG; the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {
        "gradient_ratios": partial(_ratios, groups=("fixed", "adaptive"), title="Gradient of one solve"),
        "field_ratios": partial(_ratios, groups=("fields",), title="Gradient of one solve, larger fields"),
        "compile_time": _compile_time,
        "scaling": _scaling,
        "memory": _memory,
    }
    return [path for name, draw_one in kinds.items() for path in draw_one(results, folder / f"{name}.png")]


def _ratios(results: Results, path: Path, groups: Sequence[str], title: str) -> Sequence[Path]:
    """Time of the gradient over kuttax's, one line a workload, whiskers from quartile to quartile."""
    found = [r for r in results.of(*groups, kind="gradient") if r["name"] != "kuttax"]
    found = [r for r in found if results.time_ratio(r["workload"], r["name"], "kuttax") is not None]
    if not found:
        return ()
    workloads = each(found, lambda record: record["workload"])
    with figure(7.6, 1.6 + 0.45 * len(workloads), path) as canvas:
        axes = canvas.add_subplot()
        for record in found:
            _draw_ratio(axes, results, record, workloads.index(record["workload"]))
        axes.axvline(1.0, color=_LOOK["kuttax"][0], lw=1.2, zorder=1)
        axes.set_yticks(range(len(workloads)), workloads)
        axes.set_ylim(len(workloads) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        _ticks(axes, "x", [0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100], "g")
        axes.set_xlabel("time over kuttax's time (log scale; right of the line is slower)")
        axes.set_title(title)
        _legend(canvas, each(found, lambda record: record["name"]))
    return files(path)


def _draw_ratio(axes: Axes, results: Results, record: Record, row: int) -> None:
    ratio = results.time_ratio(record["workload"], record["name"], "kuttax")
    assert ratio is not None and ratio.low is not None and ratio.high is not None
    colour, marker = _LOOK[record["name"]]
    axes.plot([ratio.low, ratio.high], [row, row], color=colour, lw=1.2, zorder=2)
    axes.plot(
        ratio.median,
        row,
        marker,
        color=colour,
        ms=10 if marker == "|" else 6.5,
        mec=PAPER if marker != "|" else colour,
        zorder=3,
    )


def _compile_time(results: Results, path: Path) -> Sequence[Path]:
    """Compile time of the gradient against the depth of the field, a panel for each method."""
    found = [r for r in results.of("fields", kind="gradient") if r["field"] == "mlp" and r["name"] in _COMPILED]
    methods = each(found, lambda record: record["method"])
    if not methods:
        return ()
    with figure(2.9 * len(methods), 3.9, path) as canvas:
        every = canvas.subplots(1, len(methods), squeeze=False, sharey=True)[0]
        for axes, method in zip(every, methods, strict=True):
            here = [record for record in found if record["method"] == method]
            for name in _COMPILED:
                _line(axes, [r for r in here if r["name"] == name], _layers, lambda r: r["compile_s"])
            _ticks(axes, "x", sorted({_layers(record) for record in here}), "g")
            _ticks(axes, "y", [0.2, 0.5, 1, 2, 5, 10, 20, 50, 100], "g")
            axes.set_xlabel("layers of the field")
            axes.set_title(method)
        every[0].set_ylabel("compile time of the gradient (s)")
        _legend(canvas, _COMPILED)
    return files(path)


def _layers(record: Record) -> int:
    return len(record["sizes"]) - 1


def _scaling(results: Results, path: Path) -> Sequence[Path]:
    """Time against steps, batch size and width; the gradient drawn through, the forward solve dashed."""
    found = [r for kind in ("gradient", "forward") for r in results.of("scaling", kind=kind)]
    axes_names = [name for name in _AXES if any(_axis(record) == name for record in found)]
    if not axes_names:
        return ()
    names = each(found, lambda record: record["name"])
    with figure(3.6 * len(axes_names), 4.2, path) as canvas:
        every = canvas.subplots(1, len(axes_names), squeeze=False, sharey=True)[0]
        for axes, axis in zip(every, axes_names, strict=True):
            here = [record for record in found if _axis(record) == axis]
            for name in names:
                for kind, dashes in (("gradient", "-"), ("forward", (0, (4, 2)))):
                    _line(
                        axes, [r for r in here if r["name"] == name and r["kind"] == kind], _size, _milliseconds, dashes
                    )
            _ticks(axes, "x", sorted({_size(record) for record in here}), "g")
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.set_xlabel(_AXES[axis])
        every[0].set_ylabel("time (ms)")
        every[0].set_title("RK4, small field")
        kinds = [
            Line2D([], [], color=INK, ls=ls, label=kind) for kind, ls in (("gradient", "-"), ("forward", (0, (4, 2))))
        ]
        _legend(canvas, names, kinds)
    return files(path)


def _memory(results: Results, path: Path) -> Sequence[Path]:
    """Peak memory of the gradient against the number of steps."""
    found = [record for record in results.of("memory", kind="gradient") if record.get("peak_rss_mib") is not None]
    if not found:
        return ()
    names = [
        name for name in each(found, lambda record: record["name"]) if name != "kuttax"
    ]  # it is one of its variants
    with figure(7.6, 4.6, path) as canvas:
        axes = canvas.add_subplot()
        for name in names:
            _line(
                axes,
                [r for r in found if r["name"] == name],
                lambda r: r["steps"],
                lambda r: max(r["peak_rss_mib"], 0.1),
            )
        _ticks(axes, "x", sorted({record["steps"] for record in found}), "g")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.set_xlabel("steps of RK4")
        axes.set_ylabel("peak memory of the gradient (MiB)")
        axes.set_title("Memory")
        _legend(canvas, names)
    return files(path)


def _line(
    axes: Axes, found: Sequence[Record], x: Callable[[Record], float], y: Callable[[Record], float], dashes: Any = "-"
) -> None:
    if not found:
        return
    ordered = sorted(found, key=x)
    colour, marker = _LOOK[found[0]["name"]]
    axes.plot([x(r) for r in ordered], [y(r) for r in ordered], marker, ls=dashes, color=colour, ms=5.5, lw=1.4)


def _ticks(axes: Axes, which: str, values: Sequence[float], form: str) -> None:
    """A log axis with ticks at these values alone, as far as they lie in view."""
    getattr(axes, f"set_{which}scale")("log")
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_major_formatter(FixedFormatter([format(value, form) for value in values]))
    axis.set_minor_locator(NullLocator())


def _legend(canvas, names: Sequence[str], more: Sequence[Line2D] = ()) -> None:
    handles = [Line2D([], [], color=_LOOK[n][0], marker=_LOOK[n][1], ls="", ms=7, label=n) for n in names]
    canvas.legend(handles=[*handles, *more], loc="outside lower center", ncols=4, handletextpad=0.4)


def _axis(record: Record) -> str:
    return record["workload"].split("-")[1]


def _size(record: Record) -> float:
    """What this workload changes, as it was run."""
    return {"steps": record["steps"], "batch": record["batch"], "width": record["sizes"][1]}[_axis(record)]


def _milliseconds(record: Record) -> float:
    return 1e3 * seconds(record)

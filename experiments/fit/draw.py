"""The front and the table of this experiment, from records.jsonl alone.

    python -m experiments.fit.draw [--out DIR]

Writes front.png, front.svg and table.md beside the records.
"""

import argparse
import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from kuttax.commands.program import ending
from kuttax.io.records import Record
from kuttax.report.comparison import paired_difference
from kuttax.report.figure import INK, figure

from ..ledger import Ledger
from .cases import label
from .run import HERE

COLOURS = {"none": "#71717a", "warm-up": "#1d4ed8", "learned": "#15803d", "consistency": "#c2410c"}
COLOURS |= {"distillation": "#a21caf", "all": INK}
PAIRS = "#a1a1aa"


class Row:
    """The runs of one task, set of levers and budget over the seeds, each beside the baseline of its seed."""

    def __init__(self, runs: Sequence[Record], baselines: Sequence[Record]):
        self.runs = [r for r in runs if "error" not in r]
        self.failed = len(runs) - len(self.runs)
        self.task, self.budget = runs[0]["task"], runs[0]["budget"]
        self.levers = label(self.task, runs[0]["levers"])
        of = {r["seed"]: r for r in baselines if "error" not in r}
        self.pairs = [(r, of[r["seed"]]) for r in self.runs if r["seed"] in of]

    @property
    def valid(self) -> int:
        """How many have a valid certificate."""
        return sum(r["verdict"] == "valid" for r in self.runs)

    @property
    def costs(self) -> dict[str, float]:
        """The means of the front's axes: NFE, and times as shares of the baseline's; NaN where they are not known."""
        shares = [r["train_seconds"] / b["train_seconds"] for r, b in self.pairs]
        predictions = [r["prediction"]["ratio"] for r in self.runs if r["prediction"]]
        return {
            "NFE": statistics.fmean(r["nfe"] for r in self.runs),
            "training time / reference's": statistics.fmean(shares) if shares else math.nan,
            "prediction time / reference's": statistics.fmean(predictions) if predictions else math.nan,
        }

    @property
    def off(self) -> float:
        """The mean difference between the test metrics of the own solver and of the reference; NaN where that fails."""
        return statistics.fmean(r["test"] - _reference(r) for r in self.runs)

    @property
    def sure(self) -> float:
        """The mean of what own solver and reference both vouch for, the worse of their metrics; NaN where one fails."""
        worse = np.minimum if self.runs[0]["metric"]["higher_is_better"] else np.maximum
        return float(np.mean([worse(r["test"], _reference(r)) for r in self.runs]))


def _reference(record: Record) -> float:
    return math.nan if record["test_reference"] is None else record["test_reference"]


def rows(found: Sequence[Record]) -> Iterator[Row]:
    """In the order of the table: by task, budget, levers."""
    fits = [r for r in found if r["kind"] == "fit"]
    keys = dict.fromkeys((r["task"], r["budget"], tuple(r["levers"])) for r in fits)
    order = lambda key: (key[0], key[1], len(key[2]), key[2])
    for task, budget, levers in sorted(keys, key=order):
        own = [r for r in fits if (r["task"], r["budget"], tuple(r["levers"])) == (task, budget, levers)]
        yield Row(own, [r for r in found if r["kind"] == "baseline" and r["task"] == task])


def table(found: Sequence[Record]) -> str:
    """Means over seeds with standard deviations; the difference to the baseline's model is paired by seed."""
    lines = [
        "| task | NFE | levers | test | less the reference's model | own solver less the reference | valid "
        "| training | prediction |",
        "|:---|---:|:---|---:|---:|---:|---:|---:|---:|",
    ]
    for task in dict.fromkeys(r["task"] for r in found):
        base = [r for r in found if r["kind"] == "baseline" and r["task"] == task and "error" not in r]
        if base:
            nfe, tested = (_mean([r[name] for r in base]) for name in ("nfe", "test"))
            lines.append(f"| {task} | {nfe} | {base[0]['solver']} | {tested} | | | | 1 | 1 |")
        lines += [_line(row) for row in rows([r for r in found if r["task"] == task])]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    head = f"| {row.task} | {row.budget} | {row.levers}"
    if not row.runs:
        return f"{head} | failed ({row.failed}) | | | | | |"
    costs = [_number(value) for name, value in row.costs.items() if name != "NFE"]
    tested = _mean([r["test"] for r in row.runs]) + (f" ({row.failed} failed)" if row.failed else "")
    cells = [tested, _paired(row), _number(row.off, "+"), f"{row.valid} of {len(row.runs)}", *costs]
    return f"{head} | {' | '.join(cells)} |"


def _paired(row: Row) -> str:
    """The difference of the test metrics with its interval over seeds, and over the samples where there are classes."""
    if not row.pairs:
        return ""
    seeds = paired_difference([(r["test"], b["test"]) for r, b in row.pairs])
    said = f"{seeds.mean:+.3g}" + ("" if seeds.low is None else f" [{seeds.low:+.2g}, {seeds.high:+.2g}]")
    if row.runs[0]["correct"] is None:
        return said
    each = 100.0 * np.mean([_bits(r) - _bits(b) for r, b in row.pairs], axis=0)
    half = 1.96 * each.std() / math.sqrt(each.size)
    return f"{said}, over samples [{each.mean() - half:+.2f}, {each.mean() + half:+.2f}]"


def _bits(record: Record) -> np.ndarray:
    """Which test samples were classified correctly; the last byte is filled up with zeros."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(record["correct"]), np.uint8)).astype(np.int8)


def _mean(values: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(values):.1g}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.4g}{spread}"


def _number(value: float, sign: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:{sign}.2g}"


def front(found: Sequence[Record], path: Path) -> None:
    """A row of panels for each task: the test metric against NFE and against the times of training and prediction.

    The metric is the worse of the own solver's and the reference's: what an invalid model claims is no merit. Filled:
    every seed has a valid certificate. Hollow: not all have.
    """
    tasks = list(dict.fromkeys(r["task"] for r in found if r["kind"] == "fit"))
    with figure(10.0, 0.7 + 2.1 * len(tasks), path) as blank:
        panels = blank.subplots(len(tasks), 3, squeeze=False)
        for line, task in zip(panels, tasks, strict=True):
            _panels(line, [r for r in found if r["task"] == task], task)
        blank.legend(handles=_legend(found), loc="outside lower center", ncols=len(COLOURS) + 3, fontsize=7)


def _legend(found: Sequence[Record]) -> list[Line2D]:
    """What colours, marks and lines stand for."""
    mark = lambda colour, kind, says, face=None: Line2D(
        [], [], color=colour, marker=kind, ls="", markerfacecolor=face or colour, label=says
    )
    handles = [mark(colour, _mark(name), name) for name, colour in COLOURS.items()]
    if any("+" in row.levers for row in rows(found)):
        handles.append(mark(PAIRS, _mark("pairs"), "pairs"))
    handles.append(mark(INK, "o", "not all certified", face="none"))
    return [*handles, Line2D([], [], color=INK, lw=0.8, ls=":", label="the reference's model")]


def _mark(name: str) -> str:
    return {"all": "*", "pairs": "s"}.get(name, "o")


def _panels(line: Any, found: Sequence[Record], task: str) -> None:
    """One task's three panels; the metric has a logarithmic scale where it spreads over more than a factor of 3."""
    base = [r["test"] for r in found if r["kind"] == "baseline" and "error" not in r]
    metric = next(r["metric"] for r in found if "metric" in r)
    known = [row for row in rows(found) if row.runs]
    sure = [row.sure for row in known if math.isfinite(row.sure)]
    spread = bool(sure) and min(sure) > 0 and max(sure) > 3 * min(sure)
    short = lambda value, _: f"{value:.2g}"
    for i, axes in enumerate(line):
        for name, colour in COLOURS.items():
            own = [row for row in known if row.levers == name]
            _points(axes, own, i, colour, name, 60 if name == "all" else 30)
        _points(axes, [row for row in known if "+" in row.levers], i, PAIRS, "pairs", 12)
        if base:
            axes.axhline(statistics.fmean(base), color=INK, lw=0.8, ls=":")
        axes.set_xscale("log", base=2)
        if spread:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_major_formatter(short)
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
        axes.xaxis.set_major_formatter(short)
        axes.set_xlabel(list(known[0].costs)[i])
    line[0].set_xticks(sorted({row.budget for row in known}))
    unit = f" ({metric['unit']})" if metric["unit"] else ""
    line[0].set_ylabel(f"test {metric['name']}{unit}")
    line[0].set_title(task)


def _points(axes: Any, own: Sequence[Row], cost: int, colour: str, name: str, size: float) -> None:
    """A mark for each budget, joined by a line."""
    if not own:
        return
    x = [list(row.costs.values())[cost] for row in own]
    y = [row.sure for row in own]
    faces = [colour if row.valid == len(row.runs) else "none" for row in own]
    if name != "pairs":
        axes.plot(x, y, color=colour, lw=0.8, alpha=0.6)
    axes.scatter(x, y, s=size, marker=_mark(name), facecolors=faces, edgecolors=colour, zorder=3)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE)
    given = parser.parse_args(arguments)
    ledger = Ledger(given.out / "records.jsonl")
    found = ledger.all()
    if not any(r["kind"] == "fit" for r in found):
        parser.error(f"no records in {ledger.path}: run experiments.fit.run first")
    (given.out / "table.md").write_text(table(found))
    front(found, given.out / "front")


if __name__ == "__main__":
    ending.run(main, program="experiments")

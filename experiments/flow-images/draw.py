"""The tables and the picture of this experiment, from records.jsonl alone.

    python -m experiments.flow-images.draw [--out DIR]

Writes table.md and distances beside the records.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path

from matplotlib.ticker import LogLocator, NullLocator

from kuttax.io.records import Record
from kuttax.report.figure import figure

from .. import drawing
from ..ledger import Ledger

HERE = Path(__file__).parent
TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10", "8gaussians": "Eight Gaussians"}
FREE = "fitted (free)"
COLOURS = {"midpoint": "#1d4ed8", "UniPC 2": "#D55E00", "DPM-Solver++ 2": "#71717a", FREE: "#009E73"}


def methods(found: Sequence[Record]) -> list[str]:
    """Those that need no fit, then those that do."""
    names = dict.fromkeys(r["method"] for r in found)
    return sorted(names, key=lambda name: any("seed" in r for r in found if r["method"] == name))


def cell(runs: Sequence[Record], what: str) -> str:
    """The mean over seeds, and the standard deviation if there are several."""
    values = [r[what] for r in runs]
    spread = f" ± {statistics.stdev(values):.1g}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3g}{spread}" if values else ""


def best(found: Sequence[Record], nfe: int, what: str, *, of_fits: bool) -> float | None:
    """The least mean over seeds of any method."""
    rows = [r for r in found if r["nfe"] == nfe and ("seed" in r) == of_fits]
    means = [statistics.fmean(r[what] for r in rows if r["method"] == name) for name in {r["method"] for r in rows}]
    return min(means, default=None)


def table(found: Sequence[Record], what: str, title: str) -> list[str]:
    """A row for each method, and the ratio of the best fitted one to the best of the others."""
    counts = sorted({r["nfe"] for r in found})
    lines = ["", title, "", "| method | " + " | ".join(map(str, counts)) + " |", "|:---|" + "---:|" * len(counts)]
    for name in methods(found):
        cells = [cell([r for r in found if (r["method"], r["nfe"]) == (name, nfe)], what) for nfe in counts]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    pairs = [[best(found, nfe, what, of_fits=of_fits) for of_fits in (True, False)] for nfe in counts]
    ratios = ["" if own is None or other is None else f"**{own / other:.2f}**" for own, other in pairs]
    return [*lines, "| **best fitted / best of the others** | " + " | ".join(ratios) + " |"]


def tables(found: Sequence[Record]) -> str:
    """All tables of all flows."""
    lines = []
    for flow in dict.fromkeys(r["flow"] for r in found):
        rows = [r for r in found if r["flow"] == flow]
        fits = [r for r in rows if "seed" in r]
        lines += [f"## {TITLES[flow]}", *table(rows, "rmse", "Distance to the teacher's samples, root mean square")]
        lines += table(rows, "median", "Distance to the teacher's samples, median over samples")
        lines += table(rows, "frechet", "Frechet distance to the data")
        if fits:
            lines += table(fits, "fit_cpu_seconds", "CPU seconds of a fit, the teacher's included")[:-1]
        lines.append("")
    return "\n".join(lines)


def distances(found: Sequence[Record], path: Path) -> None:
    """The distance to the teacher against the evaluations, for the usual samplers and the best of the free students."""
    flows = list(dict.fromkeys(r["flow"] for r in found))
    with figure(3.6 * len(flows), 3.6, path) as canvas:
        for axes, flow in zip(canvas.subplots(1, len(flows), squeeze=False)[0], flows, strict=True):
            for name, colour in COLOURS.items():
                fitted = name == FREE
                own = lambda r: r["method"].startswith("free") if fitted else r["method"] == name  # noqa: B023
                rows = [r for r in found if r["flow"] == flow and own(r)]
                counts = sorted({r["nfe"] for r in rows})
                least = [best(rows, nfe, "rmse", of_fits=fitted) for nfe in counts]
                axes.plot(counts, least, "o-", color=colour, lw=2 if fitted else 1.2, label=name)
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_locator(NullLocator())
            axes.set_xticks([3, 4, 6, 8, 10])
            axes.set_title(TITLES[flow])
            axes.set_xlabel("evaluations")
        canvas.axes[0].set_ylabel("distance to the teacher's samples")
        canvas.axes[-1].legend(fontsize=8)


def main(out: Path) -> None:
    """Write the tables and the picture beside the records."""
    found = Ledger(out / "records.jsonl").all()
    (out / "table.md").write_text(tables(found))
    distances(found, out / "distances.png")


if __name__ == "__main__":
    drawing.command(main, __doc__, HERE)

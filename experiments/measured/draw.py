"""The table and the picture of this experiment, from records.jsonl alone.

    python -m experiments.measured.draw [--out DIR]

Writes table.md and ahead.png beside the records.
"""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kuttax.io.records import Record
from kuttax.report.figure import figure

from .. import drawing
from ..ledger import Ledger
from .sets import SETS

HERE = Path(__file__).parent
NAMES = {"dopri5": "DOPRI5 at 1e-5", "midpoint": "midpoint", "rk4": "RK4", "fit": "`kx.fit`"}
STYLES = {None: "-", 1: (0, (1, 1)), 2: (0, (1, 2)), 4: "--", 8: "-"}
COLOURS = {"dopri5": "#18181b", "midpoint": "#1d4ed8", "rk4": "#D55E00", "fit": "#009E73"}


def label(record: Record) -> str:
    """The method of a record and its budget."""
    name = NAMES[record["method"]]
    return name if record["budget"] is None else f"{name}, {record['budget']}"


def error(record: Record) -> tuple[float, str]:
    """The root mean square error over windows, lead times and the components of the first unit, and that unit."""
    return float(np.sqrt(np.mean(_of_first_unit(record) ** 2))), record["units"][0]


def _of_first_unit(record: Record) -> np.ndarray:
    """The errors of the components of the first unit, (lead times, components)."""
    first = [i for i, unit in enumerate(record["units"]) if unit == record["units"][0]]
    return np.asarray(record["errors"])[:, first]


def whole(record: Record) -> float | None:
    """The error over the whole forecasts, in standard deviations; None if one diverges."""
    rmse = record["forecast"]["rmse"]
    return None if None in rmse else float(np.sqrt(np.mean(np.square(rmse))))


def table(found: Sequence[Record]) -> str:
    """One row for each set, field and method, over the seeds."""
    lines = [
        "| set | field | method | NFE | error | / DOPRI5's | whole forecast (sd) | valid time (s) | certificates |",
        "|:---|:---|:---|---:|---:|---:|---:|---:|:---|",
    ]
    for name, chosen in SETS.items():
        for field in chosen.fields:
            rows = [r for r in found if (r["set"], r["field"]) == (name, field)]
            base = {r["seed"]: r for r in rows if r["method"] == "dopri5" and "error" not in r}
            for one in dict.fromkeys(label(r) for r in rows):
                lines.append(f"| {name} | {field} | {one} | {_cells([r for r in rows if label(r) == one], base)} |")
    return "\n".join(lines) + "\n"


def _cells(runs: Sequence[Record], base: dict[int, Record]) -> str:
    done = [r for r in runs if "error" not in r]
    if not done:
        return "training fails | | | | | "
    errors = [error(r)[0] for r in done]
    ratios = [e / error(base[r["seed"]])[0] for e, r in zip(errors, done, strict=True) if r["seed"] in base]
    far = [whole(r) for r in done]
    known = [x for x in far if x is not None]
    lost = f" ({len(far) - len(known)} diverge)" if len(known) < len(far) else ""
    verdicts = [r["verdict"] for r in done]
    cells = [
        f"{statistics.fmean(r['nfe'] for r in done):.3g}",
        f"{_mean(errors)} {error(done[0])[1]}",
        _ratio(ratios),
        (_mean(known) if known else "") + lost,
        _mean([r["forecast"]["valid"]["median"] for r in done]),
        ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts)),
    ]
    return " | ".join(cells)


def _mean(values: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(values):.1g}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3g}{spread}"


def _ratio(ratios: Sequence[float]) -> str:
    """The geometric mean of paired ratios, with the smallest and the largest."""
    if not ratios:
        return ""
    return f"{math.exp(statistics.fmean(map(math.log, ratios))):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def ahead(found: Sequence[Record], path: Path) -> None:
    """The error by the time ahead: the geometric mean over the seeds of each method, for every set and field."""
    shown = [(name, field) for name, chosen in SETS.items() for field in chosen.fields]
    lines: dict[str, Any] = {}
    with figure(10.5, 6.4, path) as canvas:
        panels = canvas.subplots(2, 3).ravel()
        for axes, (name, field) in zip(panels, shown, strict=False):
            rows = [r for r in found if (r["set"], r["field"]) == (name, field) and "error" not in r]
            for one in dict.fromkeys(label(r) for r in rows):
                runs = [r for r in rows if label(r) == one]
                lead, errors = _by_lead(runs)
                style = {"ls": STYLES[runs[0]["budget"]], "color": COLOURS[runs[0]["method"]], "lw": 1.6}
                lines[one], *_ = axes.semilogy(lead, errors, **style)
                axes.set_ylabel(runs[0]["units"][0])
            axes.set_title(f"{name}: {field}")
            axes.set_xlabel("seconds ahead")
        for axes in panels[len(shown) :]:
            axes.set_axis_off()
        names = [one.replace("`", "") for one in lines]
        panels[-1].legend(list(lines.values()), names, loc="center", title="evaluations per interval", frameon=False)


def _by_lead(runs: Sequence[Record]) -> tuple[list[float], np.ndarray]:
    """Lead times, and the error of the components of the first unit there: the geometric mean over the runs."""
    errors = np.sqrt(np.mean([_of_first_unit(r) ** 2 for r in runs], axis=2))
    return runs[0]["forecast"]["lead"][: errors.shape[1]], np.exp(np.log(errors).mean(axis=0))


def drawn(out: Path) -> None:
    """Write the table and the picture beside the records."""
    found = Ledger(out / "records.jsonl").all()
    (out / "table.md").write_text(table(found))
    ahead(found, out / "ahead.png")


if __name__ == "__main__":
    drawing.command(drawn, __doc__, HERE)

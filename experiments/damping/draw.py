"""The table and the pictures of this experiment, from records.jsonl alone.

    python -m experiments.damping.draw [--out DIR]

Writes table.md, spirals and rates beside the records.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kuttax.io.records import Record
from kuttax.report.figure import INK, figure

from .. import drawing
from ..ledger import Ledger
from .algebra import TABLEAUS, learned_eigenvalue
from .systems import SYSTEMS, solved

HERE = Path(__file__).parent
COLOURS = {"euler": "#71717a", "midpoint": "#1d4ed8", "rk4": "#D55E00", "learned": "#a21caf", "fit": "#009E73"}
NAMES = {"euler": "Euler", "midpoint": "midpoint", "rk4": "RK4", "learned": "learned, 4 stages", "fit": "kx.fit"}


def label(record: Record) -> str:
    """The method of a record and its cost between two observations."""
    if record["method"] == "fit":
        return f"`kx.fit`, {record['nfe']} evaluations"
    steps = record["steps"]
    return f"{NAMES[record['method']]}, {steps} step{'s' * (steps > 1)}"


def table(found: Sequence[Record]) -> str:
    """One row for each system and method, over the seeds."""
    lines = [
        "| system | method | learned rate | predicted | rmse (sd) | wrong sign | named | certificates |",
        "|:---|:---|---:|---:|---:|---:|---:|:---|",
    ]
    for name, system in SYSTEMS.items():
        lines.append(f"| **{name}** | the data | {system.true_rate:+.4f} | | | | | |")
        rows = [r for r in found if r["system"] == name]
        for one in dict.fromkeys(label(r) for r in rows):
            lines.append(f"| {name} | {one} | {_cells([r for r in rows if label(r) == one])} |")
    return "\n".join(lines) + "\n"


def _cells(runs: Sequence[Record]) -> str:
    done = [r for r in runs if "error" not in r]
    if not done:
        return "training fails | | | | | "
    rates = [r["rate"] for r in done if r["rate"] is not None]
    spread = f" ± {statistics.stdev(rates):.1g}" if len(rates) > 1 else ""
    rate = f"{statistics.fmean(rates):+.4f}{spread}" if rates else "none: it diverges"
    predicted = f"{done[0]['predicted'][0]:+.4f}" if done[0].get("predicted") else ""
    verdicts = [r["verdict"] for r in done]
    verdict = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))
    wrong, named = sum(r["wrong_sign"] for r in done), sum(r["named"] for r in done)
    rmse = statistics.fmean(r["test"] for r in done)
    return f"{rate} | {predicted} | {rmse:.3g} | {wrong} of {len(done)} | {named} | {verdict}"


def spirals(found: Sequence[Record], path: Path) -> None:
    """The data's spiral, and those of two learned fields, solved exactly from the same start."""
    system = SYSTEMS["rotation"]
    pick = lambda **about: next(
        r for r in found if r["system"] == "rotation" and r["seed"] == 0 and about.items() <= r.items()
    )
    fit, coarse = pick(method="fit", nfe=4), pick(method="rk4", steps=1)
    shown = (
        ("The data:\nthey spiral in", solved(system.rate, *system.ahead), INK, f"rate {system.true_rate:+.3f}"),
        ("A model trained with one RK4 step:\nit spirals out", np.array(coarse["path"]), COLOURS["rk4"], _rate(coarse)),
        ("kuttax fit at the same cost:\nit spirals in", np.array(fit["path"]), COLOURS["fit"], _rate(fit)),
    )
    with figure(10.5, 4.6, path) as canvas:
        panels = canvas.subplots(1, 3, sharex=True, sharey=True)
        most = 1.08 * max(np.abs(line).max() for _, line, _, _ in shown)
        for axes, (title, line, colour, rate) in zip(panels, shown, strict=True):
            axes.plot(*line.T, color=colour, lw=1.4)
            axes.plot(*line[0], "o", color=colour, ms=7)
            axes.plot(*line[-1], ">", color=colour, ms=7)
            axes.set_title(title, color=colour, fontsize=12, loc="center")
            axes.set_xlabel(rate)
            axes.spines[:].set_visible(False)
            axes.set_xlim(-most, most)
            axes.set_ylim(-most, most)
            axes.set_aspect("equal")
            axes.set_xticks([])
            axes.set_yticks([])


def _rate(record: Record) -> str:
    return f"rate {record['rate']:+.3f}, certificate: {record['verdict']}"


def rates(found: Sequence[Record], path: Path) -> None:
    """The learned rate against the step size, for every scheme and system, with the prediction of the algebra."""
    with figure(10.5, 7.2, path) as canvas:
        for axes, (name, system) in zip(canvas.subplots(2, 2).ravel(), SYSTEMS.items(), strict=True):
            axes.axhline(0, color=INK, lw=0.8)
            axes.axhline(system.true_rate, color=INK, lw=1.0, ls=":")
            sizes = system.interval / np.linspace(1, 4, 61)
            for method, tableau in TABLEAUS.items():
                line = [learned_eigenvalue(tableau, complex(system.eigenvalues[0]), h).real for h in sizes]
                axes.plot(sizes, line, color=COLOURS[method], lw=1.0, alpha=0.6)
            for method in ("euler", "midpoint", "rk4", "learned"):
                runs = [r for r in found if r["system"] == name and r["method"] == method and r.get("rate") is not None]
                sizes_run = [system.interval / r["steps"] for r in runs]
                axes.plot(sizes_run, [r["rate"] for r in runs], "o", color=COLOURS[method], ms=5, label=NAMES[method])
            fits = [r for r in found if r["system"] == name and r["method"] == "fit" and r.get("rate") is not None]
            axes.plot(
                [system.interval * 4 / r["nfe"] for r in fits],
                [r["rate"] for r in fits],
                "*",
                color=COLOURS["fit"],
                ms=9,
                label="kx.fit, 4 and 8 evaluations",
            )
            reach = 4 * abs(system.true_rate)
            axes.set_ylim(-reach, reach)
            axes.set_title(name)
            axes.set_xlabel("step size")
            axes.set_ylabel("rate: below zero, it decays")
        canvas.axes[0].legend(fontsize=8, loc="best")


def main(out: Path) -> None:
    """Write the table and the pictures beside the records."""
    found = Ledger(out / "records.jsonl").all()
    (out / "table.md").write_text(table(found))
    if {"rk4", "fit"} <= {r["method"] for r in found if r["system"] == "rotation"}:
        spirals(found, out / "spirals.png")
    rates(found, out / "rates.png")


if __name__ == "__main__":
    drawing.command(main, __doc__, HERE)

"""The table and the front of this experiment, drawn from records.jsonl alone.

python -m experiments.local-regularization.draw [--out DIR]

They go to table.md, front.png and front.svg beside the records.
"""

import argparse
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kuttax.commands.program import ending
from kuttax.report.comparison import paired_difference
from kuttax.report.figure import INK, figure

from ..ledger import Ledger
from .run import METHODS, chosen

Record = dict[str, Any]


def by_method(found: Iterable[Record], kind: str) -> dict[str, list[Record]]:
    """The finished records of one kind, each method's own, in the order of the table."""
    kept = [r for r in found if r["kind"] == kind and "error" not in r]
    return {name: own for name in METHODS if (own := [r for r in kept if r["method"] == name])}


def final(found: list[Record]) -> dict[str, list[Record]]:
    """The tested models of each method at the weight that its search chose."""
    searched = [r for r in found if r["kind"] == "search"]
    tested = by_method(found, "final")
    return {name: [r for r in own if r["weight"] == chosen(searched, name)] for name, own in tested.items()}


def correct(record: Record) -> np.ndarray:
    """Which test digits were classified correctly."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(record["correct"]), np.uint8)).astype(np.int8)


def paired(own: list[Record], base: list[Record]) -> tuple[str, str]:
    """The difference in test accuracy in points: its interval over seeds, and over the digits (means over seeds)."""
    of = {r["seed"]: r for r in base}
    pairs = [(r, of[r["seed"]]) for r in own if r["seed"] in of]
    seeds = paired_difference([(r["test"], b["test"]) for r, b in pairs])
    each = np.mean([correct(r) - correct(b) for r, b in pairs], axis=0) * 100.0
    half = 1.96 * each.std() / math.sqrt(each.size)
    show = lambda low, high: f"[{low:+.2f}, {high:+.2f}]"
    over_seeds = f"{seeds.mean:+.2f} " + ("" if seeds.low is None else show(seeds.low, seeds.high))
    return over_seeds, show(each.mean() - half, each.mean() + half)


def spread(values: list[float], digits: int) -> str:
    """Mean and standard deviation."""
    sd = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{sd}"


def ratio(own: list[Record], base: list[Record], field: str) -> str:
    """The mean over seeds of the ratio to the baseline of the same seed."""
    of = {r["seed"]: r for r in base}
    ratios = [r[field] / of[r["seed"]][field] for r in own if r["seed"] in of]
    return f"{statistics.fmean(ratios):.2f}" if ratios else "-"


def timed(found: list[Record], name: str, what: str) -> list[Record]:
    """The timings of one method's models at the weight that was chosen."""
    tested = {(r["seed"], r["nfe"]) for r in final(found)[name]}
    own = [r for r in found if r["kind"] == "time" and r["method"] == name and r["what"] == what]
    return [r for r in own if (r["seed"], r["nfe"]) in tested]


def table(found: list[Record]) -> str:
    """The table in Markdown."""
    finals = final(found)
    base = finals["vanilla"]
    head = (
        "method",
        "weight",
        "train %",
        "test %",
        "difference, over seeds",
        "over digits",
        "NFE",
        "NFE ratio",
        "NFE from T/2",
        "NFE from T",
        "training, ratio",
        "prediction, faster by",
        "step with penalty, ratio",
        "allowed",
    )
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, own in finals.items():
        seeds, digits = ("", "") if name == "vanilla" else paired(own, base)
        lines.append(
            "| "
            + " | ".join(
                (
                    METHODS[name].label,
                    f"{own[0]['weight']:g}" if name != "vanilla" else "",
                    spread([r["train_accuracy"] for r in own], 2),
                    spread([r["test"] for r in own], 2),
                    seeds,
                    digits,
                    spread([r["nfe"] for r in own], 1),
                    ratio(own, base, "nfe"),
                    f"{statistics.fmean(r['nfe_first_0.5'] for r in own):.0f}",
                    f"{statistics.fmean(r['nfe_first_1.0'] for r in own):.0f}",
                    ratio(own, base, "train_units"),
                    _faster(found, name),
                    *_overhead(found, name),
                )
            )
            + " |"
        )
    return "\n".join(lines) + "\n"


def _faster(found: list[Record], name: str) -> str:
    """How many times faster than vanilla the prediction is."""
    base = {r["seed"]: r["ms"] for r in timed(found, "vanilla", "predict")}
    ratios = [r.get("vanilla_ms", base[r["seed"]]) / r["ms"] for r in timed(found, name, "predict")]
    return f"{statistics.fmean(ratios):.2f}" if ratios else "-"


def _overhead(found: list[Record], name: str) -> tuple[str, str]:
    """A training step with the penalty over one without it on the same model, and what the claim allows."""
    plain = {r["seed"]: r for r in timed(found, name, "step")}
    rows = [(r["ms"] / plain[r["seed"]]["ms"], r["nfe"]) for r in timed(found, name, "penalised step")]
    if not rows:
        return "", ""
    local = METHODS[name].local
    allowed = f"{statistics.fmean(1.05 + 8 / nfe for _, nfe in rows):.2f}" if local else ""
    return f"{statistics.fmean(x for x, _ in rows):.2f}", allowed


def front(found: list[Record], path: Path) -> None:
    """Accuracy against NFE: the search over weights on validation data, the chosen ones on test data."""
    searched, finals = by_method(found, "search"), final(found)
    palette = [*(f"C{i}" for i in range(10)), "#facc15", INK, INK]
    colours = dict(zip(METHODS, palette, strict=False))
    marks = {name: "D" if name == "budget-1" else "o" for name in METHODS}
    with figure(11, 5.2, path) as canvas:
        left, right = canvas.subplots(1, 2)
        for name, own in searched.items():
            own = sorted(own, key=lambda r: r["weight"])
            x, y = [r["nfe_validation"] for r in own], [r["validation"] for r in own]
            label = None if name in finals else METHODS[name].label  # its entry in the legend comes from the right
            left.plot(x, y, marks[name] + "-", color=colours[name], markersize=5, linewidth=1, label=label)
            left.annotate(f"{own[-1]['weight']:g}", (x[-1], y[-1]), xytext=(4, 4), textcoords="offset points", size=7)
        left.set(title="Search: weights, one seed", xlabel="NFE", ylabel="validation accuracy (%)")
        for name, own in finals.items():
            x, y = [r["nfe"] for r in own], [r["test"] for r in own]
            label = METHODS[name].label
            right.plot(x, y, ".", color=colours[name], alpha=0.5)
            mean = statistics.fmean(x), statistics.fmean(y)
            right.plot(*mean, marks[name], color=colours[name], markersize=9, label=label)
        right.set(title="Chosen weights: seeds and their mean", xlabel="NFE", ylabel="test accuracy (%)")
        canvas.legend(loc="outside lower center", ncols=4, fontsize=8)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of the records")
    folder = parser.parse_args(arguments).out
    found = Ledger(folder / "records.jsonl").all()
    front(found, folder / "front.png")
    (folder / "table.md").write_text(table(found))
    print(table(found))


if __name__ == "__main__":
    ending.run(main, program="experiments")

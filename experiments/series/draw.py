"""The table of experiments.series, from its records alone."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from kuttax.io.records import Record

from ..ledger import Ledger

_HEAD = """\
| data | path | solver | accuracy (%) | difference | NFE | / diffrax | ms a step | speed-up | certificate | seeds |
|:---|:---|:---|---:|---:|---:|---:|---:|---:|:---|---:|
"""


def table(out: Path, names: Sequence[str]) -> str:
    """A row for each data set and solver; differences and ratios of the same seed, means with standard deviations."""
    return _HEAD + "".join(row for name in names for row in _rows(Ledger(out / f"{name}.jsonl"), name))


def _rows(ledger: Ledger, name: str) -> Iterator[str]:
    finals = [r for r in ledger.all(kind="final") if "error" not in r]
    theirs = {r["seed"]: r for r in finals if r["method"] == "diffrax"}
    for solver in dict.fromkeys(r["solver"] for r in finals if r["method"] == "ours"):
        ours = {r["seed"]: r for r in finals if r["solver"] == solver}
        times = {r["seed"]: r for r in ledger.all(kind="time", solver=solver)}
        seeds = sorted(ours.keys() & theirs.keys() & times.keys())
        if seeds:
            yield _row(name, *([of[seed] for seed in seeds] for of in (ours, theirs, times)))


def _row(name: str, ours: Sequence[Record], theirs: Sequence[Record], times: Sequence[Record]) -> str:
    compared: Callable[..., str] = lambda of, key: spread(
        [of(a[key], b[key]) for a, b in zip(ours, theirs, strict=True)]
    )
    verdicts = [r["verdict"] for r in ours]
    faster = [min(r["diffrax_ms"], r["diffrax_mapped_ms"]) / r["ours_ms"] for r in times]
    cells = [
        name,
        f"{ours[0]['windows']} windows, log-signature {ours[0]['log_signature']}",
        ours[0]["solver"],
        spread([r["test"] for r in ours]),
        compared(lambda a, b: a - b, "test"),
        spread([r["test_nfe"] for r in ours]),
        compared(lambda a, b: a / b, "test_nfe"),
        spread([r["ours_ms"] for r in times]),
        spread(faster),
        ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts)),
        str(len(ours)),
    ]
    return f"| {' | '.join(cells)} |\n"


def spread(values: Sequence[float]) -> str:
    """The mean, with the standard deviation where there are several."""
    apart = f" ± {statistics.stdev(values):.1g}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3g}{apart}"

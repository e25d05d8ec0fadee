"""The pictures of a study, from its records alone.

python -m experiments.validity.draw spheres
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kuttax.commands.program import ending
from kuttax.io.records import Record
from kuttax.report.figure import figure

from ..ledger import Ledger
from .options import parser, study_of
from .trained import ALLOWED

TITLES = {"euler": "Euler", "midpoint": "midpoint", "rk4": "RK4"}


def accuracies(models: list[Record]) -> dict[tuple[int, str, float], np.ndarray]:
    """(Steps trained with, scheme tested with, factor of the step) -> the accuracy of each seed."""
    found: dict[tuple[int, str, float], list[float]] = {}
    for model in models:
        for test in model["tests"]:
            found.setdefault((model["steps"], test["scheme"], test["factor"]), []).append(test["accuracy"])
    return {cell: np.array(values) for cell, values in found.items()}


def heat_map(models: list[Record], verdicts: dict[str, str], chance: float, path: Path) -> None:
    """A row for each number of steps trained with, a column for each solver tested with; the mean over the seeds.

    At the right, how many of the seeds are valid: by RK4 at a quarter of the step, and by the certificate.
    """
    cells = accuracies(models)
    rows = sorted({steps for steps, _, _ in cells})
    schemes, factors = list(TITLES), sorted({factor for _, _, factor in cells})
    with figure(2.6 + 0.5 * len(factors) * 3, 1.6 + 0.34 * len(rows), path) as blank:
        panels = blank.subplots(1, 4, width_ratios=[len(factors)] * 3 + [2])
        for axes, scheme in zip(panels, schemes, strict=False):
            means = np.array([[cells[n, scheme, f].mean() for f in factors] for n in rows])
            image = axes.imshow(means, cmap="viridis", vmin=chance, vmax=100, aspect="auto")
            _numbers(axes, means)
            axes.set(title=TITLES[scheme], xlabel="step tested / trained with")
            axes.set_xticks(range(len(factors)), [f"{f:g}" for f in factors])
            axes.set_yticks(range(len(rows)), [str(n) for n in rows] if scheme == schemes[0] else [])
            axes.grid(False)
        panels[0].set_ylabel("Euler steps trained with")
        _shares(panels[3], models, verdicts, rows)
        blank.colorbar(image, ax=panels.tolist(), label="test accuracy (%)", pad=0.01)


def _numbers(axes: Any, means: np.ndarray) -> None:
    for (row, column), value in np.ndenumerate(means):
        dark = value < 0.5 * (means.max() + 50)
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color="white" if dark else "black")


def _shares(axes: Any, models: list[Record], verdicts: dict[str, str], rows: list[int]) -> None:
    """How many models of each row are valid, as text."""
    axes.set(title="valid", xlim=(-0.5, 1.5), ylim=(len(rows) - 0.5, -0.5), xlabel="of the seeds")
    axes.set_xticks([0, 1], ["truth", "certificate"], fontsize=7)
    axes.set_yticks([])
    axes.grid(False)
    for row, n in enumerate(rows):
        own = [model for model in models if model["steps"] == n]
        true = sum(model["lost"] <= ALLOWED for model in own)
        axes.text(0, row, f"{true}/{len(own)}", ha="center", va="center", fontsize=8)
        judged = [verdicts[model["run"]] for model in own if model["run"] in verdicts]
        text = f"{judged.count('valid')}/{len(judged)}" if judged else "-"
        undecided = judged.count("undecided")
        axes.text(1, row, text + (f" ({undecided}?)" if undecided else ""), ha="center", va="center", fontsize=8)


def lost_against_steps(models: list[Record], critical: dict[int, int | None], path: Path) -> None:
    """Points lost under the truth against the number of steps, one line for each seed, its critical number marked."""
    with figure(6.4, 4.2, path) as blank:
        axes = blank.subplots()
        for i, seed in enumerate(sorted({model["seed"] for model in models})):
            own = sorted((m["steps"], m["lost"]) for m in models if m["seed"] == seed)
            (line,) = axes.plot(*zip(*own, strict=True), "o-", ms=3, lw=1, label=f"seed {seed}", color=f"C{i}")
            if critical.get(seed) is not None:
                axes.axvline(critical[seed], color=line.get_color(), lw=0.8, ls="--")
        axes.axhline(ALLOWED, color="#1b1b1e", lw=0.8, ls=":")
        axes.set_xscale("log", base=2)
        axes.set_yscale("symlog", linthresh=1)
        axes.set(xlabel="Euler steps trained with", ylabel="points lost under RK4 at h / 4")
        axes.set_title("Valid below the dotted line; dashed: critical")
        axes.legend(fontsize=8)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(__doc__)
    given = options.parse_args(arguments)
    ledger = Ledger(given.out / f"{given.study}.jsonl")
    models = ledger.all(kind="trained")
    if not models:
        options.error(f"no records in {ledger.path}: run experiments.validity.grid {given.study} first")
    verdicts = {record["run"]: record["verdict"] for record in ledger.all(kind="verdict")}
    of_grid = [model for model in models if model["steps"] in study_of(given).ladder]  # not a search's own rungs
    heat_map(of_grid, verdicts, 50.0 if given.study == "spheres" else 10.0, given.out / f"{given.study}-grid")
    critical = {record["seed"]: record["critical"] for record in ledger.all(kind="critical")}
    lost_against_steps(models, critical, given.out / f"{given.study}-lost")


if __name__ == "__main__":
    ending.run(main, program="experiments")

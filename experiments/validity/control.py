"""Step control from a start that is far too coarse, and from one that is far too fine: where does it end?

    python -m experiments.validity.control spheres

Ott's control and the certified one, on the training data, seeds and settings of the grid, so that the critical number
of steps is that of the same seed. What is held out is drawn afresh: 2,000 samples more, which cost nothing on spheres.
Appends a record per run to control.jsonl and skips what is recorded.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax

import kuttax as kx
from kuttax.commands import ending
from kuttax.commands.options.step_control import control_of, history
from kuttax.data.tables import spheres
from kuttax.io.records import Record
from kuttax.report.figure import figure
from kuttax.tasks.registry import build
from kuttax.training.loop import Progress, Trainer

from ..ledger import Ledger
from .marching import tested
from .options import parser, seeds_of, study_of
from .study import Study
from .trained import TRUTH

CONTROLS = {"ott": "Ott et al.", "certified": "certified"}
STARTS = (2, 1000)
HELD_OUT = 2000
PER_DISPATCH = 50


def task_of(study: Study, smoke: bool) -> Any:
    """The study's task, with held-out samples of its own."""
    task: Any = build(study.task, **study.options)
    held_out = spheres.load(test=40 if smoke else HELD_OUT, seed=1)[1]
    return replace(task, splits=task.splits._replace(validation=held_out))


def measure(trainer: Trainer, task: Any, start: kx.FixedSteps, study: Study, seed: int) -> dict[str, Any]:
    """Train under a control; where it ended, what it cost, and the truth about the model.

    A turn is the optimiser step, the number of steps from then on, and the strain or the certificate's verdict.
    """
    trained = trainer.run(seed, _said)
    assert trained.controlled is not None
    solver: Any = trained.solver
    data = jax.tree.map(lambda x: x[: study.samples], task.test)
    own = tested(trained.model, data, "euler", solver.steps)
    truth = tested(trained.model, data, TRUTH[0], TRUTH[1] * solver.steps)
    record = history(trained.controlled, start, solver)
    turns = [
        [turn["step"], round(turn["size"], 3), turn.get("verdict", round(turn.get("strain", math.nan), 3))]
        for turn in record.pop("turns")
    ]
    return {
        **record,
        "share": record["nfe_checks"] / record["nfe_train"],
        "accuracy": own,
        "lost": round(own - truth, 6),
        "train_seconds": trained.train_seconds,
        "compile_seconds": trained.compile_seconds,
        "turns": turns,
    }


def _said(now: Progress) -> None:
    """Where training stands, every now and then."""
    if now.controlled is not None and now.step % 500 == 0:
        size = now.controlled.turns[-1].size if now.controlled.turns else math.nan
        print(f"{now.step}: {size:.4g} steps, {now.metric:.4g} %, {now.seconds:.0f} s", file=sys.stderr, flush=True)


def draw(runs: list[Record], critical: dict[int, int | None], path: Any) -> None:
    """The number of steps while training, a panel for each control, a colour for each seed; dashed: critical."""
    with figure(9.0, 3.8, path) as blank:
        panels = blank.subplots(1, len(CONTROLS), sharey=True)
        for axes, (kind, title) in zip(panels, CONTROLS.items(), strict=True):
            for run in (r for r in runs if r["control"] == kind):
                steps, sizes, _ = zip([0, run["start"], None], *run["turns"], strict=True)
                axes.step(steps, sizes, where="post", lw=1, color=f"C{run['seed']}")
            for seed, steps in critical.items():
                if steps is not None:
                    axes.axhline(steps, color=f"C{seed}", lw=0.8, ls="--")
            axes.set_yscale("log", base=2)
            axes.set(title=title, xlabel="optimiser steps")
        panels[0].set_ylabel("Euler steps")


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(__doc__, studies=("spheres",))
    options.add_argument("--controls", nargs="+", choices=tuple(CONTROLS), default=tuple(CONTROLS))
    options.add_argument("--starts", type=int, nargs="+", default=STARTS, help="numbers of steps to begin with")
    given = options.parse_args(arguments)
    study = study_of(given)
    task, ledger = task_of(study, given.smoke), Ledger(given.out / "control.jsonl")
    settings = replace(study.settings, per_dispatch=PER_DISPATCH)
    for kind in given.controls:
        for steps in given.starts:
            start = kx.FixedSteps(kx.tableaus.EULER, steps)
            trainer = Trainer(task, start, settings, control=control_of(kind, start))
            for seed in seeds_of(given, study):
                about = {"kind": "controlled", "study": study.name, "control": kind, "from": steps, "seed": seed}
                ledger.once(about, lambda: measure(trainer, task, start, study, seed))  # noqa: B023
    found = Ledger(given.out / f"{study.name}.jsonl").all(kind="critical")
    draw(ledger.all(kind="controlled"), {r["seed"]: r["critical"] for r in found}, given.out / "control")


if __name__ == "__main__":
    ending.run(main, program="experiments")

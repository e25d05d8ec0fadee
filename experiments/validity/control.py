"""Step control from a start that is far too coarse, and from one that is far too fine: where does it end?

    python -m experiments.validity.control spheres
    python -m experiments.validity.control cifar10 --data-dir DIR

Ott's control and the certified one, on the training data, seeds and settings of the grid, so that the critical number
of steps is that of the same seed. On spheres what is held out is drawn afresh: 2,000 samples more, which cost nothing.
There a second record per certified run says what was possible: with how few steps that run's own field, fine-tuned, is
still valid by the truth. Appends to control.jsonl and skips what is recorded.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

import kuttax as kx
from kuttax.commands.options.step_control import control_of, history
from kuttax.commands.program import ending
from kuttax.data.tables import spheres
from kuttax.io.records import Record
from kuttax.report.figure import figure
from kuttax.tasks.registry import build
from kuttax.training.checkpoint import load_run, save_run
from kuttax.training.loop import Progress, Trainer

from ..ledger import Ledger
from .marching import tested
from .options import parser, seeds_of, study_of
from .study import Study
from .trained import ALLOWED, TRUTH

CONTROLS = {"ott": "Ott et al.", "certified": "certified"}
STARTS = {"spheres": (2, 1000), "cifar10": (1, 32)}
HELD_OUT = 2000
PER_DISPATCH = 50
RATIO = 1.1  # between the numbers of steps that a run's own field is fine-tuned at
TUNED = 0.03  # of the training steps, at each of these, as the control does when it descends
TRIES = 2  # at each
BELOW = 2  # numbers of steps in a row that have to fail before the search ends


def task_of(study: Study, smoke: bool) -> Any:
    """The study's task, on spheres with held-out samples of its own."""
    task: Any = build(study.task, **study.options)
    if study.name != "spheres":
        return task
    held_out = spheres.load(test=40 if smoke else HELD_OUT, seed=1)[1]
    return replace(task, splits=task.splits._replace(validation=held_out))


def lost(model: Any, study: Study, task: Any, steps: int) -> tuple[float, float]:
    """A model's test accuracy with its own steps, and how many points of it the truth takes away."""
    data = jax.tree.map(lambda x: x[: study.samples], task.test)
    own = tested(model, data, "euler", steps)
    return own, round(own - tested(model, data, TRUTH[0], TRUTH[1] * steps), 6)


def smallest(run: Path, task: Any, study: Study, seed: int) -> dict[str, Any]:
    """The fewest steps at which the field in `run`, fine-tuned from the next finer rung, is valid by the truth.

    Returns:
        "smallest", the number, and "rungs": for each try the number of steps and the points lost.
    """
    settings = replace(study.settings, train_steps=max(1, round(TUNED * study.settings.train_steps)))
    _, model, solver = load_run(run, task)
    of_task: Any = solver
    found, failed, rungs = (steps := of_task.steps), 0, []
    while failed < BELOW and steps > 1:
        steps = min(steps - 1, round(steps / RATIO))
        trainer, valid = Trainer(task, kx.FixedSteps(kx.tableaus.EULER, steps), settings), False
        for _ in range(TRIES):
            model = trainer.run(seed + 100 + len(rungs), model=model).model  # other batches at each try
            rungs.append([steps, lost(model, study, task, steps)[1]])
            valid = rungs[-1][1] <= ALLOWED
            if valid:
                break
        found, failed = (steps, 0) if valid else (found, failed + 1)
    return {"smallest": found, "rungs": rungs}


def measure(trainer: Trainer, task: Any, start: kx.FixedSteps, study: Study, seed: int, run: Path) -> dict[str, Any]:
    """Train under a control; where it ended, what it cost, and the truth about the model, which is kept in `run`.

    A turn is the optimiser step, the number of steps from then on, and the strain or the certificate's verdict.
    """
    trained = trainer.run(seed, _said)
    assert trained.controlled is not None
    solver: Any = trained.solver
    save_run(run, trained.model, solver, {"task": {"name": study.task, "options": study.options}})
    own, gone = lost(trained.model, study, task, solver.steps)
    record = history(trained.controlled, start, solver)
    turns = [
        [turn["step"], round(turn["size"], 3), turn.get("verdict", round(turn.get("strain", math.nan), 3))]
        for turn in record.pop("turns")
    ]
    return {
        **record,
        "share": record["nfe_checks"] / record["nfe_train"],
        "accuracy": own,
        "lost": gone,
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
    options = parser(__doc__, studies=tuple(STARTS))
    options.add_argument("--controls", nargs="+", choices=tuple(CONTROLS), default=tuple(CONTROLS))
    options.add_argument("--starts", type=int, nargs="+", help="numbers of steps to begin with")
    given = options.parse_args(arguments)
    study = study_of(given)
    task, ledger = task_of(study, given.smoke), Ledger(given.out / "control.jsonl")
    settings = replace(study.settings, per_dispatch=PER_DISPATCH)
    for kind in given.controls:
        for steps in given.starts or STARTS[study.name]:
            start = kx.FixedSteps(kx.tableaus.EULER, steps)
            trainer = Trainer(task, start, settings, control=control_of(kind, start))
            for seed in seeds_of(given, study):
                about = {"kind": "controlled", "study": study.name, "control": kind, "from": steps, "seed": seed}
                run = given.out / "runs" / f"{study.name}-{kind}-from{steps}-seed{seed}"
                ledger.once(about, lambda: measure(trainer, task, start, study, seed, run))  # noqa: B023
                if kind == "certified" and study.name == "spheres":
                    ledger.once({**about, "kind": "smallest"}, lambda: smallest(run, task, study, seed))  # noqa: B023
    found = Ledger(given.out / f"{study.name}.jsonl").all(kind="critical")
    name = "control" if study.name == "spheres" else f"control-{study.name}"
    draw(ledger.all(kind="controlled", study=study.name), {r["seed"]: r["critical"] for r in found}, given.out / name)


if __name__ == "__main__":
    ending.run(main, program="experiments")

"""Trained: one model at one number of Euler steps, tested with other solvers, once."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax

import kuttax as kx
from kuttax.io.records import Record
from kuttax.tasks.registry import build, task_options
from kuttax.training.checkpoint import options_as_json, save_run
from kuttax.training.loop import Trainer

from ..ledger import Ledger
from .marching import SCHEMES, tested
from .study import Study

TRUTH = ("rk4", 4)
"""The truth about a model: RK4 at a quarter of the step that it was trained with, marched by hand."""
ALLOWED = 1.0
"""Points of accuracy that a valid model may lose under the truth."""


class Trained:
    """The models of a study, trained when they are first asked for.

    Args:
        study: What is trained.
        out: Where `STUDY.jsonl` and `runs/` go; a model is kept as `kuttax evaluate` reads it.
    """

    def __init__(self, study: Study, out: Path):
        self.study, self.out = study, out
        self.ledger = Ledger(out / f"{study.name}.jsonl")
        self.options = task_options(study.task)(**study.options)
        self.task: Any = build(study.task, **study.options)
        self.data = jax.tree.map(lambda x: x[: study.samples], self.task.test)
        self._latest: tuple[int, Trainer] | None = None

    def record(self, steps: int, seed: int) -> Record:
        """The record of the model that was trained with so many steps."""
        about = {"kind": "trained", "study": self.study.name, "scheme": "euler", "steps": steps, "seed": seed}
        return self.ledger.once(about, lambda: self._run(steps, seed))

    def valid(self, steps: int, seed: int) -> bool:
        """The truth about that model."""
        return self.record(steps, seed)["lost"] <= ALLOWED

    def _trainer(self, steps: int) -> Trainer:
        """For so many steps; the latest one is kept, for what it has compiled serves all seeds."""
        if self._latest is None or self._latest[0] != steps:
            self._latest = steps, Trainer(self.task, kx.FixedSteps(kx.tableaus.EULER, steps), self.study.settings)
        return self._latest[1]

    def _run(self, steps: int, seed: int) -> dict[str, Any]:
        trained = self._trainer(steps).run(seed)
        run = f"{self.study.name}-euler-n{steps}-seed{seed}"
        about = {"task": {"name": self.study.task, "options": options_as_json(self.options)}}
        save_run(self.out / "runs" / run, trained.model, trained.solver, about)
        own = tested(trained.model, self.data, "euler", steps)
        scheme, finer = TRUTH
        truth = tested(trained.model, self.data, scheme, finer * steps)
        return {
            "run": run,
            "settings": asdict(self.study.settings),
            "samples": len(self.data.y),
            "accuracy": own,
            "truth": truth,
            "lost": round(own - truth, 6),
            "tests": [self._test(trained.model, s, steps, f) for s in SCHEMES for f in self.study.factors],
            "train_seconds": trained.train_seconds,
            "compile_seconds": trained.compile_seconds,
        }

    def _test(self, model: Any, scheme: str, trained_steps: int, factor: float) -> dict[str, Any]:
        """The accuracy at `factor` times the step; the number of steps is rounded, and said."""
        steps = max(1, round(trained_steps / factor))
        accuracy = tested(model, self.data, scheme, steps)
        return {"scheme": scheme, "factor": factor, "steps": steps, "accuracy": accuracy}

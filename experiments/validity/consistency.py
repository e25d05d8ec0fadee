"""Learned solvers with and without the Consistency penalty: whose fields are still ODEs, at what NFE?

    python -m experiments.validity.consistency spheres
    python -m experiments.validity.consistency digits

A model is valid where it keeps its accuracy within one point when RK4 with many steps, marched by hand, takes the place
of its learned solver. Appends a record per model to consistency.jsonl and skips what is recorded.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optax

import kuttax as kx
from kuttax.commands.options.solver import LearnedOptions
from kuttax.commands.program import ending
from kuttax.penalties.schedule import Scheduled
from kuttax.report.figure import figure
from kuttax.solvers.base.solver import title
from kuttax.tasks.registry import build, task_options
from kuttax.training.checkpoint import options_as_json, save_run
from kuttax.training.evaluate import evaluate
from kuttax.training.loop import Trainer
from kuttax.training.settings import Settings

from ..ledger import Ledger
from .marching import tested
from .options import parser
from .trained import ALLOWED

STUDIES = ("spheres", "digits")
STAGES = 2
STEPS = {"spheres": (1, 2, 4, 8, 16), "digits": (1, 2, 4)}
WEIGHTS = (0.0, 0.1, 1.0, 10.0)
SEEDS = 5
PRECISE = 512
"""Steps of RK4 that stand for the exact flow."""


@dataclass(frozen=True)
class Case:
    """One model: what it is trained on, its learned solver's number of steps, the penalty's weight, the seed."""

    study: str
    steps: int
    weight: float
    seed: int

    @property
    def run(self) -> str:
        """The directory of the saved run."""
        return f"consistency-{self.study}-learned-n{self.steps}-weight{self.weight:g}-seed{self.seed}"


def settings_of(study: str, smoke: bool) -> Settings:
    """The settings that the task is made for; tiny ones where it is only to be seen that it runs."""
    chosen = {**task_options(study).training, "per_dispatch": 100}
    return Settings(**{**chosen, "train_steps": 2, "batch_size": 16, "evaluations": 1} if smoke else chosen)


def penalty_of(weight: float) -> Scheduled | None:
    """The penalty at a constant weight; none at weight zero, which is the plain learned solver."""
    if weight == 0:
        return None
    return Scheduled(weight * kx.Consistency(), optax.constant_schedule(1.0))


def measure(case: Case, task: Any, settings: Settings, out: Path) -> dict[str, Any]:
    """Train, save, and test with the own solver and with the exact flow."""
    solver = LearnedOptions().learned(STAGES, case.steps)
    trained = Trainer(task, solver, settings, penalty_of(case.weight)).run(case.seed)
    options = options_as_json(task_options(case.study)())
    save_run(out / "runs" / case.run, trained.model, trained.solver, {"task": {"name": case.study, "options": options}})
    own = evaluate(task, trained.model, trained.solver, task.test, settings.batch_size)
    truth = tested(trained.model, task.test, "rk4", PRECISE)
    return {
        "run": case.run,
        "settings": asdict(settings),
        "solver": title(trained.solver),
        "nfe": own.nfe,
        "accuracy": own.metric,
        "truth": truth,
        "lost": own.metric - truth,
        "valid": own.metric - truth <= ALLOWED,
        "train_seconds": trained.train_seconds,
    }


def draw(records: list[dict[str, Any]], study: str, path: Path) -> None:
    """Points lost under the exact flow against NFE, one colour for each weight, one dot for each seed."""
    colours = dict(zip(WEIGHTS, ("#1b1b1e", "#1d4ed8", "#15803d", "#c2410c"), strict=True))
    with figure(6.4, 4.2, path) as blank:
        axes = blank.subplots()
        for i, (weight, colour) in enumerate(colours.items()):
            own = [r for r in records if r["weight"] == weight]
            label = "no penalty" if weight == 0 else f"Consistency, weight {weight:g}"
            shifted = [r["nfe"] * 1.04 ** (i - 1.5) for r in own]  # side by side, not one above the other
            axes.plot(shifted, [r["lost"] for r in own], "o", color=colour, alpha=0.7, mew=0, label=label)
        axes.axhline(ALLOWED, color="#1b1b1e", lw=0.8, ls=":")
        axes.set_xscale("log", base=2)
        axes.set_yscale("symlog", linthresh=1)
        axes.set(xlabel="NFE of the learned solver", ylabel="points lost under the exact flow")
        axes.set_title(f"{study}: learned solvers, valid below the dotted line")
        axes.legend(fontsize=8)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(__doc__, studies=STUDIES)
    options.add_argument("--weights", type=float, nargs="+", help="of the penalty; 0 is without it")
    given = options.parse_args(arguments)
    ledger = Ledger(given.out / "consistency.jsonl")
    small = {"samples": 60, "test_samples": 40} if given.smoke and given.study == "spheres" else {}
    task, settings = build(given.study, **small), settings_of(given.study, given.smoke)
    for steps in (1,) if given.smoke else STEPS[given.study]:
        for weight in WEIGHTS if given.weights is None else given.weights:
            for seed in given.seeds or range(1 if given.smoke else SEEDS):
                case = Case(given.study, steps, weight, seed)
                ledger.once({"kind": "trained", **asdict(case)}, lambda: measure(case, task, settings, given.out))  # noqa: B023
    draw(ledger.all(kind="trained", study=given.study), given.study, given.out / f"consistency-{given.study}")


if __name__ == "__main__":
    ending.run(main, program="experiments")

"""The certificate's verdict on every model of a study, beside the truth.

    python -m experiments.validity.certify spheres|mnist|cifar10|windermere

Reads the records and the saved models, appends a record of kind "verdict" for each to the same file, and says where
verdict and truth disagree. Both look at the same samples: of spheres at 8,000 fresh ones, for 1,000 cannot tell half a
point from a whole one. Apart from training, so that another certificate needs no other models.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from kuttax.commands.program import ending
from kuttax.data.tables import spheres
from kuttax.io.records import Record
from kuttax.training.checkpoint import load_run
from kuttax.training.evaluate import predict as predicted
from kuttax.validity import certify

from ..ledger import Ledger
from . import windermere
from .marching import tested
from .options import parser, study_of
from .trained import ALLOWED, TRUTH, Trained

SAMPLES = 8000


def samples_of(trained: Trained, smoke: bool) -> Any:
    """What verdict and truth look at: all that costs nothing to have, and that training did not see."""
    if trained.study.name != "spheres":
        return trained.data
    return jax.tree.map(jnp.asarray, spheres.load(test=40 if smoke else SAMPLES, seed=1)[1])


def verdict(trained: Trained, run: str, data: Any) -> dict[str, Any]:
    """What the certificate says of a saved model, and what the truth is, on the same samples."""
    task, model, solver = load_run(trained.out / "runs" / run, trained.task)
    predict = partial(predicted, task, model)
    found = certify(predict, solver, data)
    of_task: Any = solver
    scheme, finer = TRUTH
    own, truth = tested(model, data, "euler", of_task.steps), tested(model, data, scheme, finer * of_task.steps)
    about = {"samples": len(data.y), "accuracy": own, "truth": truth, "lost": round(own - truth, 6)}
    return {"verdict": found.verdict, **about, "certificate": found.to_json()}


def agreement(verdicts: list[Record]) -> dict[str, Any]:
    """How many verdicts agree with the truth; within 10 % of the threshold "undecided" is no disagreement."""
    wrong = []
    for record in verdicts:
        truth = "valid" if record["lost"] <= ALLOWED else "invalid"
        near = abs(record["lost"] - ALLOWED) <= 0.1 * ALLOWED
        if record["verdict"] != truth and not (near and record["verdict"] == "undecided"):
            wrong.append({name: record[name] for name in ("run", "lost", "verdict")})
    return {"models": len(verdicts), "agree": len(verdicts) - len(wrong), "disagree": wrong}


def of_fan(out: Path, smoke: bool) -> dict[str, Any]:
    """The record of what the certificate says of Lady Windermere's fan, under the step that its line was fitted at."""
    fan, samples = windermere.sizes(smoke)

    def run() -> dict[str, Any]:
        line = windermere.fitted(fan, windermere.OWN, samples)
        predict = partial(windermere.prediction, fan, line)
        found = certify(predict, windermere.euler(fan, windermere.OWN), fan.data(samples, seed=1))
        return {"dtype": "float64", "verdict": found.verdict, "certificate": found.to_json()}

    with jax.enable_x64(True):
        return Ledger(out / "windermere.jsonl").once({"kind": "verdict", "scheme": "euler"}, run)


def main(arguments: Sequence[str] | None = None) -> None:
    given = parser(__doc__, studies=("spheres", "mnist", "cifar10", "windermere")).parse_args(arguments)
    if given.study == "windermere":
        of_fan(given.out, given.smoke)
        return
    study = study_of(given)
    trained = Trained(study, given.out)
    models = [r for r in trained.ledger.all(kind="trained") if given.seeds is None or r["seed"] in given.seeds]
    data, verdicts = samples_of(trained, given.smoke), []
    for model in models:
        run = model["run"]
        about = {"kind": "verdict", "study": study.name, "run": run}
        verdicts.append(trained.ledger.once(about, lambda: verdict(trained, run, data)))  # noqa: B023
    print(agreement(verdicts))


if __name__ == "__main__":
    ending.run(main, program="experiments")

"""The certificate's verdict on every model of a study, beside the truth.

    python -m experiments.validity.certify spheres|mnist|windermere

Reads the records and the saved models, appends a record of kind "verdict" for each to the same file, and says where
verdict and truth disagree. Apart from training, so that another certificate needs no other models.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax

from kuttax.records import Record
from kuttax.training.checkpoint import load_run
from kuttax.validity import certify

from . import windermere
from .ledger import Ledger
from .options import parser, study_of
from .trained import ALLOWED, Trained


def verdict(trained: Trained, run: str) -> dict[str, Any]:
    """What the certificate says of a saved model on the samples that the truth was found on."""
    task, model, solver = load_run(trained.out / "runs" / run, trained.task)
    found = certify(lambda solver, batch: task.predict(model, solver, batch), solver, trained.data)
    return {"verdict": found.verdict, "certificate": found.to_json()}


def agreement(models: list[Record], verdicts: dict[str, str]) -> dict[str, Any]:
    """How many verdicts agree with the truth; within 10 % of the threshold "undecided" is no disagreement."""
    agree, wrong = 0, []
    for model in models:
        truth = "valid" if model["lost"] <= ALLOWED else "invalid"
        near = abs(model["lost"] - ALLOWED) <= 0.1 * ALLOWED
        found = verdicts[model["run"]]
        if found == truth or (near and found == "undecided"):
            agree += 1
        else:
            wrong.append({"run": model["run"], "lost": model["lost"], "verdict": found})
    return {"models": len(models), "agree": agree, "disagree": wrong}


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
    given = parser(__doc__, studies=("spheres", "mnist", "windermere")).parse_args(arguments)
    if given.study == "windermere":
        of_fan(given.out, given.smoke)
        return
    study = study_of(given)
    trained = Trained(study, given.out)
    models = [r for r in trained.ledger.all(kind="trained") if given.seeds is None or r["seed"] in given.seeds]
    verdicts = {}
    for model in models:
        run = model["run"]
        about = {"kind": "verdict", "study": study.name, "run": run}
        verdicts[run] = trained.ledger.once(about, lambda: verdict(trained, run))["verdict"]  # noqa: B023
    print(agreement(models, verdicts))


if __name__ == "__main__":
    main()

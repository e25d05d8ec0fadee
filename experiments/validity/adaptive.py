"""Models trained with DOPRI5 at 1e-5: does the certificate call them ODEs, as they should be, and is it right?

    python -m experiments.validity.adaptive spheres

Appends a record of kind "adaptive" per model to STUDY.jsonl and skips what is recorded. The truth is RK4 at 2,048
steps, marched by hand, on the samples that the certificate sees.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import kuttax as kx
from kuttax.commands.program import ending
from kuttax.training.evaluate import predict as predicted
from kuttax.training.loop import Trainer
from kuttax.validity import certify

from .certify import samples_of
from .marching import tested
from .options import parser, seeds_of, study_of
from .trained import Trained

TRUTH = ("rk4", 2048)


def trained_and_certified(trainer: Trainer, seed: int, data: Any) -> dict[str, Any]:
    """Train one model; its accuracy by its own solver and by the truth, and its certificate."""
    found = trainer.run(seed)
    predict = partial(predicted, trainer.task, found.model)
    certificate = certify(predict, found.solver, data)
    own, truth = float(predict(found.solver, data).metric), tested(found.model, data, *TRUTH)
    return {
        "samples": len(data.y),
        "accuracy": own,
        "truth": truth,
        "lost": round(own - truth, 6),
        "verdict": certificate.verdict,
        "certificate": certificate.to_json(),
        "train_seconds": found.train_seconds,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    given = parser(__doc__).parse_args(arguments)
    study = study_of(given)
    trained, tolerance = Trained(study, given.out), 1e-2 if given.smoke else 1e-5
    solver, data = kx.Adaptive(kx.tableaus.DOPRI5, tolerance, tolerance), samples_of(trained, given.smoke)
    trainer = Trainer(trained.task, solver, study.settings)  # its programs serve all seeds
    for seed in seeds_of(given, study):
        about = {"kind": "adaptive", "study": study.name, "solver": "dopri5", "tolerance": tolerance, "seed": seed}
        trained.ledger.once(about, lambda: trained_and_certified(trainer, seed, data))  # noqa: B023


if __name__ == "__main__":
    ending.run(main, program="experiments")

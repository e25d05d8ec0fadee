"""The trainings of two papers at their own length, in pieces of some minutes: for a machine with a GPU.

    python -m experiments.paper-scale.run [--data-dir DIR] [--minutes 8] [--trainings NAME ...] [--methods NAME ...]
        [--seeds N] [--out DIR] [--smoke]

When the minutes are over, the training that runs is saved and the command names what is left: run it again to go on, to
the same bits. One record a finished training goes to records.jsonl; what is recorded there is not run again.
"""

import argparse
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax

import kuttax as kx
from kuttax.commands.program import ending
from kuttax.commands.run import reference
from kuttax.io.checkpoints import Checkpoints
from kuttax.solvers.base.solver import title
from kuttax.tasks.registry import build
from kuttax.training.certify import certify_run
from kuttax.training.evaluate import evaluate, prediction_ms
from kuttax.training.loop import Trainer
from kuttax.training.saving import Stopped
from kuttax.training.settings import Settings

from ..ledger import Ledger
from ..penalised import DECAY, METHODS, doubled

HERE = Path(__file__).parent
LEAST_SECONDS = 20.0
"""With less than this left nothing is begun."""
CERTIFIED = 1024
"""Validation samples of a certificate."""

_TIMED = 15

_WEIGHTS = {"vanilla": 0.0, "global-error": 10.0, "released-unbiased": 2.5, "released-biased": 2.5, "budget-2": 0.1}
"""Those of the paper (2.5), and those that experiments/local-regularization chose for the others."""


@dataclass(frozen=True)
class Training:
    """One training of a paper.

    Attributes:
        task: The named task.
        options: Of the task, besides the folder of its data.
        settings: Of the training.
        tolerance: Of Tsit5.
        double: Whether data, and so the solve, are in float64.
    """

    task: str
    options: dict[str, Any]
    settings: dict[str, Any]
    tolerance: float
    double: bool = False

    def trainer(self, method: str, data_dir: Path | None, *, smoke: bool) -> Trainer:
        """The trainer of a method. A smoke run has eight steps on scikit-learn's digits, which need no file."""
        where = {} if data_dir is None else {"data_dir": data_dir}
        task = build("digits", width=4) if smoke else build(self.task, **where, **self.options)
        settings = Settings(**{**self.settings, **({"train_steps": 8, "batch_size": 32} if smoke else {})})
        penalty, first = METHODS[method].penalty, METHODS[method].first_step
        decaying = None
        if penalty is not None:
            decaying = kx.penalties.decaying(penalty(_WEIGHTS[method]), 1.0, 1 / DECAY, settings.train_steps)
        solver = kx.Adaptive(kx.tableaus.TSIT5, self.tolerance, self.tolerance, first_step=first)
        return Trainer(doubled(task) if self.double else task, solver, settings, decaying)

    def dtype(self) -> Any:
        """A block in which JAX has the dtype of the training."""
        return jax.enable_x64(True) if self.double else nullcontext()


_MNIST = {"train_steps": 7500, "batch_size": 512, "lr": 1e-3, "lr_decay": 1.0}
TRAININGS = {
    "mnist-float32": Training("mnist", {}, _MNIST, 1e-6),
    "mnist-float64": Training("mnist", {}, _MNIST, 1.4e-8, double=True),
    "cifar10": Training("cifar10", {"width": 128}, {**_MNIST, "train_steps": 10_000, "batch_size": 128}, 1e-4),
}
"""MNIST as in Pal et al. (ICML 2023); CIFAR-10 with the field of Ott et al. (ICLR 2021) and Pal's tolerance."""


class Run(NamedTuple):
    """What is trained once."""

    training: str
    method: str
    seed: int

    def __str__(self) -> str:
        return f"{self.training} {self.method}, seed {self.seed}"


def finished(trainer: Trainer, seed: int, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Train, or go on with the training in `folder`, and test once.

    Raises:
        Stopped: The minutes were over, or a signal came; the training is saved.
    """
    kept = Checkpoints(folder)
    start = kept.latest(say)
    if start is not None:
        say(f"{folder.name}: going on at step {start.step}")
    trained = trainer.run(seed, checkpoints=kept, start=start)
    task, size = trainer.task, trainer.settings.batch_size
    test = evaluate(task, trained.model, trained.solver, task.test, size)
    exact = evaluate(task, trained.model, reference(task), task.test, size)
    certificate = certify_run(task, trained.model, trained.solver, task.validation, size, CERTIFIED)
    found = {
        "dtype": "float64" if jax.config.jax_enable_x64 else "float32",
        "solver": title(trained.solver),
        "steps": trainer.settings.train_steps,
        "best_step": trained.best_step,
        "validation": trained.validation.metric,
        "test": test.metric,
        "test_reference": exact.metric,
        "nfe": test.nfe,
        "verdict": certificate.verdict,
        "train_seconds": trained.train_seconds,
        "step_ms": trained.step_ms,
        "predict_ms": prediction_ms(task, trained.model, trained.solver, task.test, size, _TIMED),
    }
    kept.clear()
    return found


@contextmanager
def stopping(seconds: float) -> Iterator[None]:
    """Ask this process to stop after so many seconds, as a cluster would: a training then saves itself and stops."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def table(ledger: Ledger) -> str:
    """One row for each training and method, over the seeds."""
    mean = lambda runs, name, digits: f"{sum(r[name] for r in runs) / len(runs):.{digits}f}"
    lines = ["| training | method | test (%) | by Tsit5 at 1e-6 | NFE | certificates | step (ms) | device | seeds |"]
    lines.append("|:---|:---|---:|---:|---:|:---|---:|:---|---:|")
    for name in TRAININGS:
        for method in _WEIGHTS:
            runs = [r for r in ledger.all(training=name, method=method) if "error" not in r]
            if runs:
                verdicts = [r["verdict"] for r in runs]
                said = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))
                cells = [name, METHODS[method].label, mean(runs, "test", 2), mean(runs, "test_reference", 2)]
                cells += [mean(runs, "nfe", 1), said, mean(runs, "step_ms", 1), runs[0]["device"], str(len(runs))]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="of MNIST and CIFAR-10; without it they are downloaded once")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--trainings", nargs="+", choices=TRAININGS, default=list(TRAININGS), metavar="NAME")
    parser.add_argument("--methods", nargs="+", choices=_WEIGHTS, default=list(_WEIGHTS), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--smoke", action="store_true", help="eight steps on scikit-learn's digits, to see that it works"
    )
    given = parser.parse_args(arguments)
    ledger = Ledger(given.out / "records.jsonl")
    wanted = [
        Run(name, method, seed) for seed in range(given.seeds) for name in given.trainings for method in given.methods
    ]
    left = [run for run in wanted if not ledger.all(**run._asdict())]
    end = time.monotonic() + 60 * given.minutes
    while left and (seconds := end - time.monotonic()) > LEAST_SECONDS:
        training = TRAININGS[left[0].training]
        start = partial(_begun, left[0], given)
        try:
            with training.dtype(), stopping(seconds):
                ledger.attempt(left[0]._asdict(), start)
        except Stopped:
            break
        left = left[1:]
    (given.out / "table.md").write_text(table(ledger))
    print(f"left: {'; '.join(map(str, left))}. Run the command again" if left else "all is recorded", flush=True)


def _begun(run: Run, given: argparse.Namespace) -> dict[str, Any]:
    trainer = TRAININGS[run.training].trainer(run.method, given.data_dir, smoke=given.smoke)
    return finished(trainer, run.seed, given.out / "runs" / f"{run.training}-{run.method}-seed{run.seed}", print)


if __name__ == "__main__":
    ending.run(main, program="experiments")

"""What each lever of kx.fit is worth at 4, 8 and 16 evaluations, beside a model trained with Tsit5 at 1e-6.

    python -m experiments.fit.run --data-dir DIR [--tasks NAME ...] [--nfe 4 8 16] [--levers ...] [--seeds N]
    python -m experiments.fit.draw [--out DIR]

None, each lever alone and all of them at every budget; pairs at 8. One record a finished run goes to records.jsonl, and
what is recorded there is not run again. Without --data-dir MNIST and CIFAR-10 are left out.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import kuttax as kx
from kuttax.commands.program import ending
from kuttax.commands.run import reference
from kuttax.solvers.base.solver import title
from kuttax.tasks.registry import build, task_options
from kuttax.training.checkpoint import load_run, options_as_json, save_run
from kuttax.training.evaluate import Evaluation, evaluate, predict
from kuttax.training.loop import Trainer

from ..ledger import Ledger
from ..turns import in_turns
from .cases import Case, cases, label, pulled

HERE = Path(__file__).parent
ROUNDS = 15
"""Of a timed prediction."""
PAIRED = 8
"""The budget at which pairs of levers are looked at."""


class Seconds:
    """Adds up what training takes: optimiser steps alone, without compilation and evaluation; a report of `kx.fit`."""

    def __init__(self):
        self._stages: dict[str, float] = {}

    def __call__(self, stage: str, steps: int, now: Any) -> None:
        """Hears of one dispatch."""
        del steps
        self._stages[stage] = now.seconds

    @property
    def total(self) -> float:
        """Of all stages."""
        return sum(self._stages.values())


class Fits:
    """The runs of one case; the task is built once.

    Args:
        name: Of the case.
        case: The case.
        out: Where records and runs go.
    """

    def __init__(self, name: str, case: Case, out: Path):
        self.name, self.case, self.out = name, case, out
        self.ledger, self.task = Ledger(out / "records.jsonl"), build(case.task, **case.options)

    def baseline(self, seed: int) -> None:
        """Train and test with Tsit5 at 1e-6, once."""

        def run() -> dict[str, Any]:
            cpu = time.process_time()
            trained = Trainer(self.task, reference(self.task), self.case.settings).run(seed)
            spent = {"train_seconds": trained.train_seconds, "cpu_seconds": time.process_time() - cpu}
            return {**self._tested(self._baseline(seed), trained.model, trained.solver), **spent}

        self._once({"kind": "baseline"}, seed, run)

    def fit(self, levers: Sequence[str], nfe: int, seed: int) -> None:
        """Fit with these levers, and test, once."""

        def run() -> dict[str, Any]:
            seconds, cpu = Seconds(), time.process_time()
            settings = self.case.settings
            chosen = {"nfe": nfe, "most_nfe": nfe, "options": pulled(levers), "settings": settings, "seed": seed}
            fitted = kx.fit(self.task, **chosen, report=seconds)
            spent = {"train_seconds": seconds.total, "cpu_seconds": time.process_time() - cpu}
            directory = "-".join([self.name, *(levers or ["none"]), f"nfe{nfe}", f"seed{seed}"])
            return {
                **self._tested(directory, fitted.model, fitted.solver),
                **spent,
                "verdict": fitted.verdict,
                "stages": [{**s._asdict(), "validation": s.validation._asdict()} for s in fitted.history],
                "prediction": self._against_baseline(fitted.model, fitted.solver, seed),
            }

        self._once({"kind": "fit", "levers": list(levers), "budget": nfe}, seed, run)

    def _once(self, about: dict[str, Any], seed: int, run: Callable[[], dict[str, Any]]) -> None:
        self.ledger.attempt({**about, "task": self.name, "seed": seed}, run)

    def _baseline(self, seed: int) -> str:
        return f"{self.name}-tsit5-seed{seed}"

    def _tested(self, directory: str, model: Any, solver: kx.AbstractSolver) -> dict[str, Any]:
        """Save the run, look at the test data once, with the own solver and with Tsit5 at 1e-6."""
        about = {"name": self.case.task, "options": options_as_json(task_options(self.case.task)(**self.case.options))}
        save_run(self.out / "runs" / directory, model, solver, {"task": about})
        own, alone = self._evaluated(model, solver), self._evaluated(model, reference(self.task))
        assert own is not None
        return {
            "run": directory,
            "solver": title(solver),
            "metric": self.task.metric._asdict(),
            "test": own.metric,
            "nfe": own.nfe,
            "test_reference": None if alone is None else alone.metric,
            "correct": self._correct(model, solver),
        }

    def _evaluated(self, model: Any, solver: kx.AbstractSolver) -> Evaluation | None:
        """The test; None where the reference cannot solve the field."""
        try:
            return evaluate(self.task, model, solver, self.task.test, self.case.settings.batch_size)
        except kx.SolveError:
            return None

    def _batches(self) -> Iterator[Any]:
        size = self.case.settings.batch_size
        for i in range(0, len(jax.tree.leaves(self.task.test)[0]), size):
            yield jax.tree.map(lambda x: x[i : i + size], self.task.test)  # noqa: B023

    def _correct(self, model: Any, solver: kx.AbstractSolver) -> str | None:
        """Which test samples are classified correctly, a bit each in hexadecimal; None where there are no classes."""
        found = [predict(self.task, model, solver, batch) for batch in self._batches()]
        if found[0].labels is None:
            return None
        right = np.concatenate([np.argmax(p.outputs, -1) == p.labels for p in found])
        return np.packbits(right).tobytes().hex()

    def _against_baseline(self, model: Any, solver: kx.AbstractSolver, seed: int) -> dict[str, float] | None:
        """The time of predicting one batch, in turns with the baseline's model of the same seed; None without one."""
        directory = self.out / "runs" / self._baseline(seed)
        if not directory.exists():
            return None
        _, base, adaptive = load_run(directory, self.task)
        batch = jax.tree.map(jnp.asarray, next(self._batches()))
        outputs = eqx.filter_jit(lambda model, solver, batch: self.task.predict(model, solver, batch).outputs)
        programs = {"own": lambda: outputs(model, solver, batch), "baseline": lambda: outputs(base, adaptive, batch)}
        times = in_turns(programs, ROUNDS)
        ratios = [own / other for own, other in zip(times["own"], times["baseline"], strict=True)]
        return {"ratio": statistics.median(ratios), "ms": statistics.median(times["own"])}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data-dir", type=Path, help="of MNIST and CIFAR-10; without it they are left out")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--tasks", nargs="+", metavar="NAME", help="default: all")
    parser.add_argument("--nfe", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument(
        "--levers", nargs="+", metavar="NAME", help="none, all, learned, warm-up+learned, ...; default: each"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that it runs")
    given = parser.parse_args(arguments)
    known = cases(given.data_dir, given.smoke)
    if unknown := set(given.tasks or ()) - set(known):
        parser.error(f"unknown task {unknown.pop()!r}; known: {', '.join(known)} (mnist and cifar10 with --data-dir)")
    fits = [Fits(name, known[name], given.out) for name in given.tasks or known]
    for seed in range(given.seeds):
        for one in fits:
            one.baseline(seed)
            for nfe in given.nfe:
                for names in one.case.alone + (one.case.pairs if nfe == PAIRED else []):
                    if given.levers is None or label(one.name, names) in given.levers:
                        one.fit(names, nfe, seed)


if __name__ == "__main__":
    ending.run(main, program="experiments")

"""Neural CDEs of labelled series: fixed evaluations with a certificate, beside diffrax's Tsit5 on the same paths.

    python -m experiments.series.run [--out DIR] [--data NAME ...] [--seeds N] [--solver NAME] [--smoke]

For each data set: paths, then solvers, chosen on validation data with a seed of their own; then, for every seed, one
model trained with the chosen solver and one with diffrax's Tsit5, from the same weights on the same paths, each tested
once, and their training steps timed in turns. One record a finished run goes to DATA.jsonl; what is recorded there is
not repeated. table.md is drawn from the records alone. NFE is that of the whole path. The sets other than
spirals need the package aeon: pip install '.[aeon]'.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import kuttax as kx
from kuttax.commands.program import ending
from kuttax.io.records import Record
from kuttax.solvers.base.solver import title
from kuttax.tasks import Controlled, build
from kuttax.training.certify import certify_run
from kuttax.training.evaluate import evaluate
from kuttax.training.loop import Trainer
from kuttax.training.settings import Settings

from ..ledger import Ledger
from ..turns import in_turns
from .by_diffrax import ByDiffrax
from .draw import table

SEARCH_SEED = 100
MARGIN = 1.0  # points of validation accuracy that fewer evaluations may cost
ROUNDS = 15  # of a timed training step
PENALTY = 0.1 * kx.Consistency()


class Case(NamedTuple):
    """A data set: options of the task, training steps, and the paths that are tried, (windows, log-signature)."""

    options: dict[str, Any]
    train_steps: int
    paths: tuple[tuple[int, int], ...]
    batch_size: int = 64


CASES = {
    "spirals": Case({"data": "spirals", "samples": 3000}, 200, ((8, 1), (16, 1), (8, 2))),
    "JapaneseVowels": Case({"data": "JapaneseVowels"}, 200, ((8, 1), (16, 1), (8, 2))),
    "BasicMotions": Case({"data": "BasicMotions", "held_out": 0.4}, 200, ((16, 1), (8, 2), (16, 2)), 24),
    "GunPoint": Case({"data": "GunPoint", "held_out": 0.4}, 400, ((16, 1), (16, 2), (32, 1)), 24),
}
SMOKE = {"state": 3, "width": 4}


def learned(stages: int) -> kx.LearnedRK:
    """One step of a learned solver in each window, which starts at Euler or the midpoint rule."""
    start = kx.tableaus.EULER if stages == 1 else kx.tableaus.MIDPOINT
    return kx.LearnedRK.from_tableau(start, 1, order=stages)


SOLVERS: dict[str, Callable[[], kx.AbstractSolver]] = {
    "euler": lambda: kx.FixedSteps(kx.tableaus.EULER, 1),
    "midpoint": lambda: kx.FixedSteps(kx.tableaus.MIDPOINT, 1),
    "learned": lambda: learned(2),
    "rk4": lambda: kx.FixedSteps(kx.tableaus.RK4, 1),
}


class Study:
    """The runs of one data set, and their records."""

    def __init__(self, data: str, out: Path, *, smoke: bool = False):
        self.data, self.out, self.case = data, out, CASES[data]
        drawn = {"samples": 120} if data == "spirals" else {}
        self.more = {**drawn, **SMOKE} if smoke else {}
        steps: dict[str, Any] = (
            {"train_steps": 2, "per_dispatch": 2} if smoke else {"train_steps": self.case.train_steps}
        )
        self.settings = Settings(batch_size=self.case.batch_size, lr=3e-3, **steps)
        self.ledger = Ledger(out / f"{data}.jsonl")
        self._tasks: dict[tuple[int, int], Controlled] = {}

    def task(self, path: tuple[int, int]) -> Controlled:
        """The task with this path."""
        if path not in self._tasks:
            windows, depth = path
            options = {**self.case.options, **self.more, "windows": windows, "log_signature": depth}
            task: Any = build("series", **options)
            self._tasks[path] = task
        return self._tasks[path]

    def path(self) -> tuple[int, int]:
        """The path with the best validation accuracy under the midpoint rule, then the lowest validation loss."""
        for path in self.case.paths:
            self._search(path, "midpoint")
        found = [r for r in self.ledger.all(kind="search", solver="midpoint") if "error" not in r]
        best = min(found, key=lambda r: (-r["validation"], r["validation_loss"]))
        return best["windows"], best["log_signature"]

    def solver(self, path: tuple[int, int]) -> str:
        """The solver of fewest evaluations, and among these of the shortest training, of those within MARGIN, or one
        series, of the best validation accuracy, whose certificate on training and validation data is valid, or lacks
        nothing but samples; RK4 if there is none."""
        found = [self._search(path, name) for name in SOLVERS]
        best = max(r["validation"] for r in found)
        certified = [r for r in found if r["verdict"] == "valid" or r["lacks_samples"]]
        margin = max(MARGIN, 100.01 / len(self.task(path).validation.y))
        good = [r for r in certified if r["validation"] >= best - margin]
        chosen = min(good, key=lambda r: (r["nfe"], r["train_seconds"])) if good else found[-1]
        return chosen["solver"]

    def _search(self, path: tuple[int, int], solver: str) -> Record:
        about = {"kind": "search", "windows": path[0], "log_signature": path[1], "solver": solver, "seed": SEARCH_SEED}

        def run() -> dict[str, Any]:
            task = self.task(path)
            trained = self._trainer(task, SOLVERS[solver]()).run(SEARCH_SEED)
            seen = jax.tree.map(lambda *parts: np.concatenate(parts), task.train, task.validation)
            return {**self._numbers(trained), **self._certified(task, trained, seen)}

        return self.ledger.attempt(
            about, run, validation=-1.0, validation_loss=1e9, verdict="invalid", nfe=1e9, lacks_samples=False
        )

    def _trainer(self, task: Any, solver: kx.AbstractSolver) -> Trainer:
        penalty = kx.penalties.Scheduled(PENALTY, optax.constant_schedule(1.0))
        return Trainer(task, solver, self.settings, penalty if isinstance(solver, kx.LearnedRK) else None)

    def _numbers(self, trained: Any) -> dict[str, Any]:
        return {
            "steps": self.settings.train_steps,
            "best_step": trained.best_step,
            "validation": trained.validation.metric,
            "validation_loss": trained.validation.loss,
            "nfe": trained.validation.nfe,
            "train_seconds": trained.train_seconds,
            "compile_seconds": trained.compile_seconds,
        }

    def _certified(self, task: Controlled, trained: Any, data: Any) -> dict[str, Any]:
        found = certify_run(task, trained.model, trained.solver, data, batch_size=512)
        reasons = [str(reason) for reason in found.reasons]
        return {"verdict": found.verdict, "reasons": reasons, "lacks_samples": found.lacks_samples}

    def final(self, path: tuple[int, int], solver: str, seed: int) -> None:
        """Both models of a seed, each tested once, and their training steps timed in turns."""
        about = {"windows": path[0], "log_signature": path[1], "seed": seed}
        task = self.task(path)
        baseline, unused = ByDiffrax(task, mapped=False), SOLVERS["euler"]()

        def ours() -> dict[str, Any]:
            trained = self._trainer(task, SOLVERS[solver]()).run(seed)
            self._save(solver, seed, (trained.model, trained.solver))
            test = evaluate(task, trained.model, trained.solver, task.test, 512)
            told = {"label": title(trained.solver), "test": test.metric, "test_loss": test.loss, "test_nfe": test.nfe}
            return {**self._numbers(trained), **told, **self._certified(task, trained, task.test)}

        def theirs() -> dict[str, Any]:
            trained = Trainer(baseline, unused, self.settings).run(seed)
            self._save("diffrax", seed, (trained.model, unused))
            test = evaluate(baseline, trained.model, unused, task.test, 512)
            told = {"label": "diffrax Tsit5 1e-4", "test": test.metric, "test_loss": test.loss, "test_nfe": test.nfe}
            return {**self._numbers(trained), **told}

        self.ledger.attempt({"kind": "final", "method": "ours", "solver": solver, **about}, ours)
        self.ledger.attempt({"kind": "final", "method": "diffrax", "solver": "tsit5", **about}, theirs)
        self.ledger.once({"kind": "time", "solver": solver, **about}, lambda: self._timed(task, solver, seed))

    def _timed(self, task: Controlled, solver: str, seed: int) -> dict[str, Any]:
        """Milliseconds of an optimiser step with the weights at the end of training, in turns."""
        rows = np.random.default_rng(seed).permutation(len(task.train.y))[: self.settings.batch_size]
        batch = jax.tree.map(lambda x: jnp.asarray(x[rows]), task.train)
        like = task.init(jax.random.key(0))
        of_ours = self._load(solver, seed, (like, SOLVERS[solver]()))
        of_diffrax = self._load("diffrax", seed, (like, SOLVERS["euler"]()))
        programs = {
            "ours": partial(optimiser_step, task, PENALTY if solver == "learned" else None, *of_ours, batch),
            "diffrax": partial(optimiser_step, ByDiffrax(task, mapped=False), None, *of_diffrax, batch),
            "diffrax_mapped": partial(optimiser_step, ByDiffrax(task, mapped=True), None, *of_diffrax, batch),
        }
        times = in_turns(programs, ROUNDS)
        return {**{f"{name}_ms": statistics.median(ms) for name, ms in times.items()}, "all": times}

    def _file(self, method: str, seed: int) -> Path:
        return self.out / "runs" / f"{self.data}-{method}-seed{seed}.eqx"

    def _save(self, method: str, seed: int, pair: Any) -> None:
        self._file(method, seed).parent.mkdir(parents=True, exist_ok=True)
        eqx.tree_serialise_leaves(self._file(method, seed), pair)

    def _load(self, method: str, seed: int, like: Any) -> Any:
        return eqx.tree_deserialise_leaves(self._file(method, seed), like)


@eqx.filter_jit
def optimiser_step(task: Any, penalty: Any, model: Any, solver: Any, batch: Any) -> Any:
    """One step of Adam on model and solver."""
    varied, fixed = eqx.partition((model, solver), kx.trainable((model, solver)))
    adam = optax.adam(1e-3)
    key = jax.random.key(0)
    told = {} if penalty is None else {"penalty": penalty}
    loss = lambda varied: task.loss(*eqx.combine(varied, fixed), batch, key, **told)[0]
    value, slope = jax.value_and_grad(loss)(varied)
    with jax.numpy_dtype_promotion("standard"):  # optax needs it, whatever the caller's setting
        updates, _ = adam.update(slope, adam.init(varied), varied)
    return value, optax.apply_updates(varied, updates)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--data", nargs="+", choices=CASES, default=list(CASES), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--solver", choices=SOLVERS, help="test this solver, in place of the one chosen on validation data"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="a few training steps of tiny models, to see that it works"
    )
    given = parser.parse_args(arguments)
    for data in given.data:
        study = Study(data, given.out, smoke=given.smoke)
        path = study.path()
        solver = given.solver or study.solver(path)
        for seed in range(given.seeds):
            study.final(path, solver, seed)
        (given.out / "table.md").write_text(table(given.out, list(CASES)))


if __name__ == "__main__":
    ending.run(main, program="experiments")

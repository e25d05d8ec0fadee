"""Latent ODEs of irregular time series: what local penalties do to NFE, time and error (Pal et al., ICML 2023).

    python -m experiments.latent.run [--out DIR] [--data-dir DIR] [--seeds N] [--methods NAME ...] [--smoke]

Generated series, or with --data-dir PhysioNet's set A. Each penalty at each of its weights with a seed of its own, on
validation data; then the chosen weights with every seed, tested once; then predictions of these models, timed in turns.
One record a finished run goes to DATA.jsonl; what is recorded there is not repeated. DATA.md is drawn from the records
alone. The NFE is that of a whole solve, from the first time of the grid to the last.
"""

import argparse
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

import kuttax as kx
from kuttax.commands.program import ending
from kuttax.io.records import Record
from kuttax.tasks import Latent, build
from kuttax.training.evaluate import evaluate
from kuttax.training.loop import Trainer
from kuttax.training.settings import Settings

from ..ledger import Ledger
from ..turns import in_turns

SOLVER = kx.Adaptive(kx.tableaus.TSIT5, 1e-5, 1e-5)
SEARCH_SEED = 100
MARGIN = 0.05  # of the validation error, that a weight may cost
STEPS_OF_BUDGET = 10
LAST = 0.002  # weights end at this part of their start: a field that has become cheap stays so, and fits better
PHYSIONET = {"rounding": 1.0, "latent": 20, "hidden": 40}
"""Sizes for two cores: times to the hour, and the paper's latent state."""
SMOKE = {"samples": 40, "latent": 3, "width": 4, "hidden": 4, "rounding": 0.5}


class Method(NamedTuple):
    """A row of the table: a penalty, and the weights that are tried."""

    label: str
    penalty: kx.AbstractPenalty | None = None
    weights: tuple[float, ...] = (0.0,)


def at_budget(sampling: Any, steps: int = STEPS_OF_BUDGET) -> kx.LocalError:
    """log(1 + E) of a step that crosses its share of the time: can the time be crossed in so many steps?"""
    return kx.LocalError(sampling, steps=steps)


def at_solver_step(sampling: Any) -> kx.LocalError:
    """E |h| of the step that the solver took at the drawn time: the paper's estimator, and its whole gradient."""
    return kx.LocalError(sampling, size="solver", transform="scaled")


METHODS = {
    "vanilla": Method("vanilla"),
    "global": Method("global error", kx.GlobalError(), (0.1, 0.3, 1.0)),
    "local-unbiased": Method("local error, unbiased", at_budget("unbiased"), (0.3, 0.5, 1.0)),
    "local-biased": Method("local error, biased", at_budget("biased"), (0.3, 0.5, 1.0)),
    "few-unbiased": Method(
        "local error, unbiased, four steps", at_budget("unbiased", 4), (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
    ),
    "few-biased": Method("local error, biased, four steps", at_budget("biased", 4), (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)),
    "solver-unbiased": Method("local, unbiased, the solver's step", at_solver_step("unbiased"), (1.0, 3.0, 10.0)),
    "solver-biased": Method("local, biased, the solver's step", at_solver_step("biased"), (1.0, 3.0, 10.0)),
}
DEFAULT = ("vanilla", "global", "local-unbiased", "local-biased")


class Study:
    """The runs of one data set, and their records."""

    def __init__(self, task: Latent, settings: Settings, out: Path, data: str):
        self.task, self.settings, self.out, self.data = task, settings, out, data
        self.ledger = Ledger(out / f"{data}.jsonl")

    def finals(self, **about: Any) -> list[Record]:
        """The records of the tested models that say all of this."""
        return [r for r in self.ledger.all(kind="final", **about) if "error" not in r]

    def trained(self, kind: str, name: str, weight: float, seed: int) -> None:
        """Train once, unless it is recorded; a search looks at validation data, a final run at the test."""
        about = {"kind": kind, "method": name, "weight": weight, "seed": seed}
        self.ledger.attempt(about, lambda: self._train(kind, name, weight, seed))

    def _train(self, kind: str, name: str, weight: float, seed: int) -> dict[str, Any]:
        penalty = METHODS[name].penalty
        if penalty is not None:
            penalty = kx.penalties.decaying(weight * penalty, 1.0, LAST, self.settings.train_steps)
        curve: list[float] = []
        trainer = Trainer(self.task, SOLVER, self.settings, penalty)
        found = trainer.run(seed, lambda now: curve.append(round(now.nfe * self.task.intervals, 1)))
        record = {
            "steps": self.settings.train_steps,
            "validation": found.validation.metric,
            "nfe_validation": found.validation.nfe * self.task.intervals,
            "train_seconds": found.train_seconds,
            "compile_seconds": found.compile_seconds,
            "step_ms": found.step_ms,
            "nfe_training": curve,
        }
        if kind == "search":
            return record
        (self.out / "runs").mkdir(parents=True, exist_ok=True)
        eqx.tree_serialise_leaves(self._model(name, seed), found.model)
        test = evaluate(self.task, found.model, SOLVER, self.task.test, self.settings.batch_size)
        return {**record, "test": test.metric, "test_nll": test.loss, "nfe": test.nfe * self.task.intervals}

    def _model(self, name: str, seed: int) -> Path:
        return self.out / "runs" / f"{self.data}-{name}-seed{seed}.eqx"

    def chosen(self, name: str) -> float:
        """The weight with the lowest NFE among those within MARGIN of vanilla's validation error, else of the least
        error."""
        found = [r for r in self.ledger.all(kind="search", method=name) if "error" not in r]
        if name == "vanilla" or not found:
            return METHODS[name].weights[0]
        vanilla = self.ledger.all(kind="search", method="vanilla")[0]["validation"]
        good = [r for r in found if r["validation"] <= (1 + MARGIN) * vanilla]
        best = min(good, key=lambda r: r["nfe_validation"]) if good else min(found, key=lambda r: r["validation"])
        return best["weight"]

    def timed(self, names: Sequence[str], seed: int, repeats: int) -> None:
        """Milliseconds of predicting a batch with each model of a seed, all of them once in every round."""
        finals = [r for name in names for r in self.finals(method=name, seed=seed, weight=self.chosen(name))]
        if all(self.ledger.all(kind="time", method=r["method"], seed=seed, nfe=r["nfe"]) for r in finals):
            return
        like, programs = self.task.init(jax.random.key(0)), {}
        batch = jax.tree.map(lambda x: jnp.asarray(x[: self.settings.batch_size]), self.task.test)
        run = jax.jit(lambda model, batch: self.task.predict(model, SOLVER, batch).outputs)
        for record in finals:
            model = eqx.tree_deserialise_leaves(self._model(record["method"], seed), like)
            programs[record["method"]] = partial(run, model, batch)
        times = in_turns(programs, repeats)
        vanilla = statistics.median(times["vanilla"])
        for record in finals:
            ms = times[record["method"]]
            about = {"kind": "time", "method": record["method"], "seed": seed, "nfe": record["nfe"]}
            self.ledger.once(about, lambda: {"ms": statistics.median(ms), "vanilla_ms": vanilla, "all": ms})  # noqa: B023

    def table(self, names: Sequence[str]) -> str:
        """Means over the seeds with standard deviations; ratios to vanilla of the same seed."""
        lines = [
            "| method | weight | test MSE | / vanilla | test NLL (nats) | NFE | / vanilla | prediction / vanilla "
            "| training (s) | seeds |",
            "|:---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        ]
        base = {r["seed"]: r for r in self.finals(method="vanilla")}
        for name in names:
            runs = self.finals(method=name, weight=self.chosen(name))
            if runs:
                lines.append(self._row(name, runs, base))
        return "\n".join(lines) + "\n"

    def _row(self, name: str, runs: Sequence[Record], base: dict[int, Record]) -> str:
        paired = [(r, base[r["seed"]]) for r in runs if r["seed"] in base]
        ratio = lambda key: spread([r[key] / v[key] for r, v in paired], 3)
        timed = [r for run in runs for r in self.ledger.all(kind="time", method=name, seed=run["seed"], nfe=run["nfe"])]
        predicted = spread([r["ms"] / r["vanilla_ms"] for r in timed], 3) if timed else ""
        every = lambda key, digits: spread([r[key] for r in runs], digits)
        cells = [METHODS[name].label, f"{runs[0]['weight']:g}", every("test", 3), ratio("test"), every("test_nll", 3)]
        cells += [every("nfe", 3), ratio("nfe"), predicted, every("train_seconds", 3), str(len(runs))]
        return f"| {' | '.join(cells)} |"


def spread(values: Sequence[float], digits: int) -> str:
    """The mean, with the standard deviation where there are several."""
    apart = f" ± {statistics.stdev(values):.1g}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}g}{apart}" if values else ""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--data-dir", type=Path, help="with PhysioNet's set-a, in place of generated series")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4000, help="of training")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=DEFAULT, metavar="NAME")
    parser.add_argument("--repeats", type=int, default=30, help="of a timed prediction")
    parser.add_argument(
        "--smoke", action="store_true", help="a few training steps of tiny models, to see that it works"
    )
    given = parser.parse_args(arguments)
    names = list(dict.fromkeys(["vanilla", *given.methods]))
    data = "synthetic" if given.data_dir is None else "physionet"
    options: dict[str, Any] = {"data": data, "data_dir": given.data_dir}
    options |= SMOKE if given.smoke else PHYSIONET if data == "physionet" else {}
    settings = Settings(train_steps=given.steps, batch_size=64, lr=1e-2)
    if given.smoke:
        settings = Settings(train_steps=2, batch_size=8, per_dispatch=2, evaluations=1)
    study = Study(build("latent", **options), settings, given.out, data)
    for name in names:
        for weight in METHODS[name].weights:
            study.trained("search", name, weight, SEARCH_SEED)
    for seed in range(given.seeds):
        for name in names:
            study.trained("final", name, study.chosen(name), seed)
        study.timed(names, seed, given.repeats)
    (given.out / f"{data}.md").write_text(study.table(names))


if __name__ == "__main__":
    ending.run(main, program="experiments")

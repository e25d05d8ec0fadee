"""What density-2d/ and density-tables/ share: methods, one training run, its record, timing in turns, the table.

Each run.py has three stages:

    train   every method on every data set, each seed: one record a finished run in records.jsonl
    time    optimiser steps of the trained models, in turns, so that the machine's moods fall on all alike
    draw    table.md, from the records alone

What is recorded is not run again.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import kuttax as kx
from kuttax.commands.run import reference
from kuttax.data.tables.toys import TOYS
from kuttax.solvers.base.solver import title
from kuttax.tasks.registry import build
from kuttax.training.certify import certify_run
from kuttax.training.checkpoint import load_run, save_run
from kuttax.training.evaluate import Evaluation, evaluate
from kuttax.training.loop import Trainer
from kuttax.training.settings import Settings

from .ledger import Ledger
from .turns import in_turns

BASELINE = "DOPRI5 at 1e-5"


@dataclass(frozen=True)
class Method:
    """One row of the table: NFE -> solver, and the weight of the consistency penalty that it is trained with."""

    solver: Callable[[int], kx.AbstractSolver]
    consistency: float = 0.0

    def takes(self, nfe: int) -> bool:
        """Whether it can spend all of the budget; not of the baseline, which has none."""
        try:
            return self.solver(nfe).evaluations_per_interval() == nfe
        except kx.UserError:
            return False


def learned(nfe: int) -> kx.LearnedRK:
    """Own coefficients and a learned size for each step, of the most stages up to four that divide the budget."""
    return kx.student("per_step", nfe=nfe, order=2, dtype=np.float32)


def fixed(tableau: kx.Tableau) -> Callable[[int], kx.AbstractSolver]:
    """The steps of a classical scheme that the budget pays for."""
    return lambda nfe: kx.FixedSteps(tableau, nfe // tableau.stages)


CONSISTENCY = 0.02
PENALISED = 32  # points of a batch that the penalty looks at
METHODS = {
    BASELINE: Method(lambda _: kx.Adaptive(kx.tableaus.DOPRI5, 1e-5, 1e-5)),
    "RK4": Method(fixed(kx.tableaus.RK4)),
    "midpoint": Method(fixed(kx.tableaus.MIDPOINT)),
    "Ralston-2": Method(fixed(kx.tableaus.RALSTON2)),
    "learned": Method(learned),
    "RK4, consistent": Method(fixed(kx.tableaus.RK4), CONSISTENCY),
    "learned, consistent": Method(learned, CONSISTENCY),
}


def penalty(method: Method, steps: int) -> kx.penalties.Scheduled | None:
    """Linear in the error of a step: the gain of a likelihood that leans on errors has no bound either."""
    if not method.consistency:
        return None
    consistency = kx.Consistency(transform="plain", reference=kx.tableaus.RK4, substeps=2)
    return kx.penalties.decaying(consistency, method.consistency, method.consistency, steps)


def run_of(about: dict[str, Any]) -> str:
    """The name of a run's directory."""
    words = (about[key] for key in ("data", "method", "budget", "seed") if about[key] is not None)
    return "_".join(str(word).lower().replace(",", "").replace(" ", "-") for word in words)


def train(out: Path, about: dict[str, Any], options: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Train once, evaluate with its own solver and at 1e-6, certify on validation data, save; returns the record."""
    task, method = build("density", **options), METHODS[about["method"]]
    trainer = Trainer(task, method.solver(about["budget"]), settings, penalty(method, settings.train_steps))
    wall, cpu = time.perf_counter(), time.process_time()
    trained = trainer.run(about["seed"])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    size = settings.batch_size
    own = evaluate(task, trained.model, trained.solver, task.test, size)
    exact = at_1e_6(task, trained.model, size)
    certificate = certify_run(task, trained.model, trained.solver, task.validation, size)
    record = {
        "solver": title(trained.solver),
        "metric": task.metric._asdict(),
        "settings": asdict(settings),
        "options": options,
        "best_step": trained.best_step,
        "validation": trained.validation.metric,
        "test": own.metric,
        "nfe": own.nfe,
        "test_reference": None if exact is None else exact.metric,
        "nfe_reference": None if exact is None else exact.nfe,
        "verdict": certificate.verdict,
        "reasons": certificate.reasons,
        "train_seconds": trained.train_seconds,
        "compile_seconds": trained.compile_seconds,
        "step_ms": trained.step_ms,
        "seconds": wall,
        "cpu_seconds": cpu,
    }
    saved = {"task": {"name": task.name, "options": options}, "record": {**about, **record}}
    save_run(out / "runs" / run_of(about), trained.model, trained.solver, saved)
    return record


def at_1e_6(task: Any, model: Any, size: int) -> Evaluation | None:
    """The test by Tsit5 at 1e-6; None where it cannot solve the field."""
    try:
        return evaluate(task, model, reference(task), task.test, size)
    except kx.SolveError:
        return None


def training_runs(given: argparse.Namespace) -> None:
    """Every run that is not recorded."""
    ledger = Ledger(given.out / "records.jsonl")
    settings = Settings(
        train_steps=given.steps, batch_size=given.batch_size, lr=given.lr, lr_decay=0.03, evaluations=10
    )
    for seed in range(given.seeds):
        for data in given.data:
            for method in given.methods:
                budget = None if method == BASELINE else given.nfe
                about = {"kind": "run", "data": data, "method": method, "budget": budget, "seed": seed}
                options = {"data": data, **given.options}
                ledger.attempt(about, lambda: train(given.out, about, options, settings))  # noqa: B023


def timings(given: argparse.Namespace) -> None:
    """The time of one optimiser step of every method of the last seed, all of them once in every round."""
    ledger = Ledger(given.out / "records.jsonl")
    for data in given.data:
        done = {r["method"] for r in ledger.all(kind="time", data=data, nfe=given.nfe)}
        rows = [r for r in ledger.all(kind="run", data=data, seed=given.seeds - 1) if r["budget"] in (None, given.nfe)]
        rows = [r for r in rows if r["method"] in given.methods and "error" not in r]
        if not rows or {r["method"] for r in rows} <= done:
            continue
        programs = {r["method"]: _step(given.out / "runs" / run_of(r), r) for r in rows}
        times = in_turns(programs, given.repeats)
        for name, all_of_them in times.items():
            budget = None if name == BASELINE else given.nfe
            about = {"kind": "time", "data": data, "method": name, "budget": budget, "nfe": given.nfe}
            ledger.once(about, lambda: {"step_ms": all_of_them})  # noqa: B023


def _step(directory: Path, record: dict[str, Any]) -> Callable[[], Any]:
    """The loss's gradient by the trained model and solver, on one batch."""
    task, model, solver = load_run(directory)
    scheduled = penalty(METHODS[record["method"]], 1)
    options = {} if scheduled is None else {"penalty": scheduled.at(jnp.zeros((), jnp.int32))}
    batch = jax.tree.map(lambda x: jnp.asarray(x[: record["settings"]["batch_size"]]), task.train)
    both, rest = eqx.partition((model, solver), kx.trainable((model, solver)))
    of_task: Any = task.loss

    @eqx.filter_jit
    def gradient(both, key):
        def loss(both):
            model, solver = eqx.combine(both, rest)
            return of_task(model, solver, batch, key, **options)[0]

        return jax.grad(loss)(both)

    return lambda: gradient(both, jax.random.key(0))


def drawn(found: Sequence[dict[str, Any]]) -> str:
    """The table: means over seeds, with standard deviations; differences and ratios are seed by seed."""
    unit = next((r["metric"]["unit"] for r in found if "metric" in r), "nats")
    lines = [
        f"| data | method | NFE | test NLL at 1e-6 ({unit}) | less {BASELINE} | own solver less 1e-6 | valid "
        "| training (s) | step (ms, in turns) | seeds |",
        "|:---|:---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for data in dict.fromkeys(r["data"] for r in found):
        of_data = [r for r in found if r["data"] == data]
        base = {r["seed"]: r for r in of_data if r["kind"] == "run" and r["method"] == BASELINE}
        times = [r for r in of_data if r["kind"] == "time"]
        for budget in sorted({r["budget"] for r in of_data}, key=lambda budget: budget or 0):
            rows = [r for r in of_data if r["kind"] == "run" and r["budget"] == budget]
            names = [name for name in METHODS if any(r["method"] == name for r in rows)]
            lines += [_line([r for r in rows if r["method"] == name], times, base) for name in names]
    failed = [f"{r['data']}, {r['method']}, seed {r['seed']}: {r['error']}" for r in found if "error" in r]
    return "\n".join(lines) + "\n" + "".join(f"\nFailed: {line}\n" for line in failed)


Records = Sequence[dict[str, Any]]


def _line(runs: Records, times: Records, base: dict[int, dict[str, Any]]) -> str:
    data, name, budget = (runs[0][key] for key in ("data", "method", "budget"))
    whole = [r for r in runs if r.get("test_reference") is not None]
    differences = [
        r["test_reference"] - base[r["seed"]]["test_reference"]
        for r in whole
        if base.get(r["seed"], {}).get("test_reference") is not None
    ]
    seconds = [r["train_seconds"] for r in runs if "train_seconds" in r]
    ratios = [
        r["train_seconds"] / base[r["seed"]]["train_seconds"]
        for r in runs
        if "train_seconds" in r and "train_seconds" in base.get(r["seed"], {})
    ]
    cells = [
        data,
        name,
        _mean([r["nfe"] for r in runs if "nfe" in r], ".1f"),
        _mean([r["test_reference"] for r in whole], ".3f"),
        "" if name == BASELINE else _mean(differences, "+.3f"),
        _mean([r["test"] - r["test_reference"] for r in whole], "+.4f"),
        f"{sum(r.get('verdict') == 'valid' for r in runs)} of {len(runs)}",
        _mean(seconds, ".0f") + (f" ({statistics.median(ratios):.2f}x)" if ratios else ""),
        _turns(times, name, budget),
        str(len(runs)),
    ]
    return f"| {' | '.join(cells)} |"


def _turns(times: Records, name: str, budget: int | None) -> str:
    """The median time of a step and its ratio to the baseline's, round by round."""
    own = next((r for r in times if (r["method"], r["budget"]) == (name, budget)), None)
    if own is None:
        return ""
    base = next((r for r in times if r["method"] == BASELINE and r["nfe"] == own["nfe"]), None)
    ratio = ""
    if base is not None:
        pairs = zip(own["step_ms"], base["step_ms"], strict=True)
        ratio = f" ({statistics.median(mine / theirs for mine, theirs in pairs):.2f}x)"
    return f"{statistics.median(own['step_ms']):.3g}{ratio}"


def _mean(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    spread = f" ± {statistics.stdev(known):.2g}" if len(known) > 1 else ""
    return f"{statistics.fmean(known):{form}}{spread}"


def main(
    about: str | None,
    folder: Path,
    data: Sequence[str],
    defaults: dict[str, Any],
    options: dict[str, Any],
    arguments: Sequence[str] | None = None,
) -> None:
    """The command line of a run.py.

    Args:
        about: Its docstring.
        folder: Where records go, unless --out says otherwise.
        data: The names of its data sets.
        defaults: `steps`, `batch_size` and `lr` of training.
        options: Of the task density, beside `data`.
        arguments: In place of those of the program.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=["train", "time", "draw"])
    parser.add_argument("--out", type=Path, default=folder)
    parser.add_argument("--data", nargs="+", choices=data, default=list(data))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--nfe", type=int, default=8, help="of all but the baseline, in whole steps")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=defaults["steps"], help="of training")
    parser.add_argument("--repeats", type=int, default=15, help="rounds of the stage time")
    parser.add_argument("--smoke", action="store_true", help="a few steps of a tiny model, to see that it works")
    given = parser.parse_args(arguments)
    for method in set(given.methods) - {BASELINE}:
        if not METHODS[method].takes(given.nfe):
            parser.error(f"{method} has no whole steps of {given.nfe} evaluations: change --nfe, or --methods")
    given.batch_size, given.lr = defaults["batch_size"], defaults["lr"]
    given.options = {**options, "penalised": PENALISED}
    if given.smoke:
        given.steps, given.repeats, given.seeds = 2, 2, 1
        given.options |= {"width": 4, "depth": 1}
        given.options |= {"samples": 256, "test_samples": 256} if set(given.data) <= set(TOYS) else {}
    if given.stage == "train":
        training_runs(given)
    elif given.stage == "time":
        timings(given)
    else:
        (given.out / "table.md").write_text(drawn(Ledger(given.out / "records.jsonl").all()))

"""Neural SDEs made cheap: what penalties do to loss, NFE and time of two SDEs (Pal et al., ICML 2021 and 2023).

    python -m experiments.sde.run STAGE --data-dir DIR

    search    every method at each of its weights, one seed, validation data
    final     the weights chosen there, three seeds, test data once, predictions timed
    table     table.md from the records

Each appends one record per finished run to records.jsonl, skips what is recorded, and so goes on where it was stopped.
DIR holds mnist10k.npz; without it MNIST is downloaded.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import kuttax as kx
from kuttax.commands.program import ending
from kuttax.tasks.registry import build
from kuttax.training.evaluate import evaluate, predict
from kuttax.training.loop import Trainer
from kuttax.training.settings import Settings

from ..ledger import Ledger
from ..turns import in_turns

SEARCH_SEED = 100
ADAPTIVE = kx.FromDiffrax(diffrax.SPaRK(), 5e-3, 5e-3)


@dataclass(frozen=True)
class Study:
    """One task, how it is solved and trained, and what counts as no loss.

    Attributes:
        grid: The fixed grid of the rows that have one.
        adaptive: The solver of the others.
        settings: Of training.
        gaps: Intervals that the solver has to end a step at.
        crossing: Steps of the penalty's budget, on the whole interval.
        worse: Of two validation results of vanilla and another, whether the other is worse than is allowed.
        local: The weights of the local penalty to be tried.
        options: Of the task.
    """

    grid: Any
    settings: Settings
    gaps: int
    crossing: int
    worse: Callable[[float, float], bool]
    local: tuple[float, ...]
    options: dict[str, Any]
    adaptive: Any = ADAPTIVE

    def solver(self, method: str) -> Any:
        """In training and in prediction."""
        return self.grid if method.startswith("grid") else self.adaptive

    def weights(self, method: str) -> tuple[float, ...]:
        """To be tried."""
        return {"vanilla": (0.0,), "grid": (0.0,), "global": (0.01, 0.1, 1.0)}.get(method, self.local)


def settings(train_steps: int, batch_size: int, lr: float) -> Settings:
    """Adam, on a cosine."""
    return Settings(train_steps=train_steps, batch_size=batch_size, lr=lr, lr_decay=0.1)


STUDIES = {
    "spiral-sde": Study(
        grid=kx.StochasticHeun(2),
        settings=settings(300, 100, 3e-2),
        gaps=29,
        crossing=29,
        worse=lambda vanilla, other: other > 1.02 * vanilla,
        local=(0.003, 0.01, 0.03),
        options={},
    ),
    "mnist-sde": Study(
        grid=kx.StochasticHeun(4),
        settings=settings(300, 512, 1e-2),
        gaps=1,
        crossing=4,
        worse=lambda vanilla, other: other < vanilla - 0.5,
        local=(0.03, 0.1, 0.3),
        options={},
    ),
}
METHODS = {
    "vanilla": "vanilla",
    "global": "global error (ERNSDE)",
    "local-unbiased": "local error, unbiased",
    "local-biased": "local error, biased",
    "grid": "fixed grid",
    "grid-local": "fixed grid, local error of its step",
}


def penalty(study: Study, method: str, weight: float) -> Any:
    """What is added to the loss."""
    if method in ("vanilla", "grid"):
        return None
    if method == "global":
        part: Any = kx.GlobalError()
    elif method == "grid-local":
        part = kx.LocalError(size="solver")
    else:
        part = kx.LocalError("unbiased" if method.endswith("unbiased") else "biased", steps=study.crossing)
    return kx.penalties.decaying(part, weight, weight, study.settings.train_steps)


def train(study: Study, task: Any, method: str, weight: float, seed: int) -> tuple[Any, dict[str, Any]]:
    """Train once; what came out, and its record on validation data."""
    nfes: list[float] = []
    trainer = Trainer(task, study.solver(method), study.settings, penalty(study, method, weight))
    trained = trainer.run(seed, lambda now: nfes.append(round(study.gaps * now.nfe, 1)))
    found = trained.validation
    return trained, {
        "train_steps": study.settings.train_steps,
        "best_step": trained.best_step,
        "validation": found.metric,
        "nfe_validation": study.gaps * found.nfe,
        "train_seconds": trained.train_seconds,
        "compile_seconds": trained.compile_seconds,
        "nfe_training": nfes,
    }


def tested(study: Study, task: Any, method: str, weight: float, seed: int, models: Path) -> dict[str, Any]:
    """Train, keep the model, and look at the test data once."""
    trained, record = train(study, task, method, weight, seed)
    models.mkdir(parents=True, exist_ok=True)
    eqx.tree_serialise_leaves(models / f"{task.name}-{method}-seed{seed}.eqx", trained.model)
    size = study.settings.batch_size
    test = evaluate(task, trained.model, trained.solver, task.test, size)
    assert test.nfe_diffusion is not None
    fine = evaluate(task, trained.model, task.reference, task.test, size)  # is it tied to its own steps?
    record |= {"test": test.metric, "test_loss": test.loss, "test_reference": fine.metric}
    record |= {"nfe": study.gaps * test.nfe, "nfe_diffusion": study.gaps * test.nfe_diffusion}
    if task.metric.unit == "%":
        return record | {"correct": _correct(task, trained, size)}
    pooled = predict(task, trained.model, trained.solver, task.test)  # without the noise of moments of few trajectories
    return record | {"test_pooled": float(pooled.metric)}


def _correct(task: Any, trained: Any, size: int) -> str:
    """Which test samples are classified right, as bits."""
    found = []
    for start in range(0, len(task.test.y), size):
        batch = jax.tree.map(lambda x: x[start : start + size], task.test)  # noqa: B023
        outputs = np.asarray(predict(task, trained.model, trained.solver, batch).outputs)
        found.append(outputs.argmax(-1) == batch.y)
    return np.packbits(np.concatenate(found)).tobytes().hex()


def spiral() -> kx.SDE:
    """The SDE that drew the data of spiral-sde, in the form of Stratonovich: a model that nothing is wrong with."""

    def drift(t, y, args):
        u, v = y**3
        return jnp.stack([2.0 * v - 0.1 * u, -2.0 * u - 0.1 * v]) - 0.02 * y

    return kx.SDE(drift, lambda t, y, args: 0.2 * y, calculus="stratonovich")


def of_the_data(ledger: Ledger, study: Study, task: Any) -> None:
    """What the data's own SDE costs with the solver of vanilla's, on test data."""

    def run() -> dict[str, Any]:
        found = evaluate(task, spiral(), study.adaptive, task.test, study.settings.batch_size)
        return {"test": found.metric, "nfe": study.gaps * found.nfe}

    ledger.once({"kind": "data", "task": task.name}, run)


def search(ledger: Ledger, name: str, task: Any) -> None:
    """Every method at each of its weights, on validation data."""
    study = STUDIES[name]
    for method in METHODS:
        for weight in study.weights(method):
            about = {"kind": "search", "task": name, "method": method, "weight": weight, "seed": SEARCH_SEED}
            ledger.attempt(about, lambda: train(study, task, method, weight, SEARCH_SEED)[1])  # noqa: B023


def chosen(found: list[dict[str, Any]], name: str, method: str) -> float:
    """The weight with the lowest NFE among those that are not worse than vanilla, else the one with the best result."""
    found = [r for r in found if r["task"] == name and "validation" in r]
    vanilla = next(r["validation"] for r in found if r["method"] == "vanilla")
    own = [r for r in found if r["method"] == method]
    good = [r for r in own if not STUDIES[name].worse(vanilla, r["validation"])]
    if good:
        return min(good, key=lambda r: r["nfe_validation"])["weight"]
    return min(own, key=lambda r: abs(r["validation"] - vanilla))["weight"]


def final(ledger: Ledger, name: str, task: Any, seeds: int, repeats: int) -> None:
    """The chosen weights on test data; then the predictions of a seed's models, timed in turns."""
    study, found, models = STUDIES[name], ledger.all(kind="search"), ledger.path.parent / "models"
    if name == "spiral-sde":
        of_the_data(ledger, study, task)
    weights = {method: chosen(found, name, method) for method in METHODS}
    for seed in range(seeds):
        for method, weight in weights.items():
            about = {"kind": "final", "task": name, "method": method, "weight": weight, "seed": seed}
            ledger.attempt(about, lambda: tested(study, task, method, weight, seed, models))  # noqa: B023
        timed(ledger, study, task, weights, seed, repeats)


def timed(ledger: Ledger, study: Study, task: Any, weights: dict[str, float], seed: int, repeats: int) -> None:
    """Predictions of one batch by the models of a seed, all of them once in every round: the pace is shared."""
    finished = {r["method"] for r in ledger.all(kind="final", task=task.name, seed=seed) if "error" not in r}
    done = {r["method"] for r in ledger.all(kind="time", task=task.name, seed=seed)}
    if finished <= done or "vanilla" not in finished:
        return
    batch = jax.tree.map(lambda x: jnp.asarray(x[: study.settings.batch_size]), task.test)
    run = eqx.filter_jit(lambda model, solver: task.predict(model, solver, batch).outputs)
    like, folder = task.init(jax.random.key(0)), ledger.path.parent / "models"
    load = lambda method: eqx.tree_deserialise_leaves(folder / f"{task.name}-{method}-seed{seed}.eqx", like)
    loaded = {method: load(method) for method in weights if method in finished}
    times = in_turns({method: partial(run, model, study.solver(method)) for method, model in loaded.items()}, repeats)
    vanilla = times["vanilla"]
    for method, ms in times.items():
        about = {"kind": "time", "task": task.name, "method": method, "weight": weights[method], "seed": seed}
        faster = statistics.median(v / own for v, own in zip(vanilla, ms, strict=True))
        ledger.once(about, lambda: {"ms": statistics.median(ms), "faster": faster, "all": ms})  # noqa: B023


def table(ledger: Ledger) -> str:
    """The means over the seeds, and the ratios to vanilla of the same seed."""
    names = "task, method, weight, test, fine steps, pooled, NFE drift, ratio, diffusion, predict ms, faster by, seeds"
    lines = [f"| {names.replace(', ', ' | ')} |", "|" + "---|" * 12]
    for name in STUDIES:
        base = {r["seed"]: r for r in ledger.all(kind="final", task=name, method="vanilla") if "error" not in r}
        for method, label in METHODS.items():
            rows = [r for r in ledger.all(kind="final", task=name, method=method) if "error" not in r]
            if rows:
                times = ledger.all(kind="time", task=name, method=method)
                lines.append(_line(name, label, rows, base, times))
    return "\n".join(lines) + "\n"


def _line(name: str, label: str, rows: list[Any], base: dict[int, Any], times: list[Any]) -> str:
    mean = lambda of: statistics.fmean(row[of] for row in rows)
    spread = statistics.stdev(row["test"] for row in rows) if len(rows) > 1 else 0.0
    pooled = f"{mean('test_pooled'):.4f}" if "test_pooled" in rows[0] else "-"
    ratios = [row["nfe"] / base[row["seed"]]["nfe"] for row in rows if row["seed"] in base]
    ratio = f"{statistics.fmean(ratios):.2f}" if ratios else "-"
    ms = f"{statistics.fmean(r['ms'] for r in times):.3g}" if times else "-"
    faster = f"{statistics.fmean(r['faster'] for r in times):.2f}" if times else "-"
    return (
        f"| {name} | {label} | {rows[0]['weight']:g} | {mean('test'):.4g} ± {spread:.2g} | "
        f"{mean('test_reference'):.4g} | {pooled} | "
        f"{mean('nfe'):.1f} | {ratio} | {mean('nfe_diffusion'):.1f} | {ms} | {faster} | {len(rows)} |"
    )


def smoke() -> None:
    """Sizes for a test of this script."""
    few = Settings(train_steps=2, batch_size=16, per_dispatch=2, evaluations=1)
    for name, study in STUDIES.items():
        small = {"width": 4, "max_steps": 256}
        small |= {"trajectories": 32, "held_out": 16} if name == "spiral-sde" else {"states": 4}
        cheap = {"grid": kx.StochasticHeun(1), "adaptive": kx.StochasticHeun(2), "local": study.local[:1]}
        STUDIES[name] = replace(study, settings=few, options=small, **cheap)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=["search", "final", "table"])
    parser.add_argument("--data-dir", type=Path, help="directory with mnist10k.npz")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--tasks", nargs="*", choices=list(STUDIES), default=list(STUDIES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--methods", nargs="*", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--smoke", action="store_true", help="a few seconds, for tests")
    given = parser.parse_args(arguments)
    for method in set(METHODS) - {"vanilla", *given.methods}:
        del METHODS[method]
    if given.smoke:
        smoke()
    ledger = Ledger(given.out / "records.jsonl")
    for name in given.tasks if given.stage != "table" else ():
        data = {"data_dir": given.data_dir} if name == "mnist-sde" else {}
        task = build(name, **data, **STUDIES[name].options)
        if given.stage == "search":
            search(ledger, name, task)
        else:
            final(ledger, name, task, given.seeds, given.repeats)
    if given.stage != "search":
        (given.out / "table.md").write_text(table(ledger))


if __name__ == "__main__":
    ending.run(main, program="experiments")

"""MNIST, 10,000 training digits: what penalties do to accuracy, NFE and time (the table of Pal et al., ICML 2023).

    python -m experiments.local-regularization.run STAGE --data-dir DIR

    search    every method at each of its weights, one seed, validation data
    final     the weights chosen there, three seeds, test data once
    time      predictions and training steps of the final models, in turns
    float64   vanilla and ours once more in float64, one seed, validation data

Each appends one record per finished run to records.jsonl, skips what is recorded, and so goes on where it was stopped.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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
from ..penalised import DECAY, METHODS, Method, doubled
from ..turns import in_turns

SEARCH_SEED = 100
MARGIN = 0.5  # points of validation accuracy that a weight may cost


def solver(first_step: float | None = None) -> kx.Adaptive:
    """The solver of every row, and its first step."""
    return kx.Adaptive(kx.tableaus.TSIT5, 1e-6, 1e-6, first_step=first_step)


class Pace:
    """How fast the machine is now: seconds of a fixed product, measured between dispatches.

    A machine's speed changes by the minute; seconds divided by it do not.
    """

    def __init__(self):
        key = jax.random.key(0)
        x, a = jax.random.normal(key, (512, 784)), 0.03 * jax.random.normal(key, (784, 100))
        product = jax.jit(lambda x, a: jax.lax.fori_loop(0, 20, lambda _, x: x + jnp.tanh(x @ a) @ a.T, x))
        self._run = lambda: jax.block_until_ready(product(x, a))
        self._run()
        self._before, self.units = 0.0, 0.0

    def __call__(self, progress: Any) -> None:
        """Add what was spent since the last call, in units of the product's time."""
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            self._run()
            times.append(time.perf_counter() - begin)
        self.units += (progress.seconds - self._before) / statistics.median(times)
        self._before = progress.seconds


def train(task: Any, method: Method, weight: float, settings: Settings, seed: int) -> tuple[Any, dict[str, Any]]:
    """Train once; what came out, and its record on training and validation data."""
    penalty = None
    if method.penalty is not None:
        last = 1.0 if method.label == "STEER" else 1 / DECAY
        penalty = kx.penalties.decaying(method.penalty(weight), 1.0, last, settings.train_steps)
    pace, nfes = Pace(), []

    def report(progress):
        pace(progress)
        nfes.append(round(progress.nfe, 2))

    trained = Trainer(task, solver(method.first_step), settings, penalty).run(seed, report)
    on = lambda data: evaluate(task, trained.model, trained.solver, data, settings.batch_size)
    fitted = on(task.train)
    starts = {f"nfe_first_{first}": _nfe(task, trained.model, solver(first), settings) for first in (None, 0.5, 1.0)}
    record = {
        "weight": weight,
        "seed": seed,
        "steps": settings.train_steps,
        "best_step": trained.best_step,
        "train_accuracy": fitted.metric,
        "validation": trained.validation.metric,
        "nfe_validation": trained.validation.nfe,
        "train_seconds": trained.train_seconds,
        "train_units": pace.units,
        "compile_seconds": trained.compile_seconds,
        "nfe_training": nfes,
        **starts,
    }
    return trained, record


def _nfe(task: Any, model: Any, with_solver: kx.Adaptive, settings: Settings) -> float:
    """What the validation set costs with another first step."""
    return evaluate(task, model, with_solver, task.validation, settings.batch_size).nfe


def chosen(found: list[dict[str, Any]], name: str) -> float:
    """The weight with the lowest NFE among those within MARGIN of the vanilla accuracy, else the most accurate one."""
    vanilla = next(r for r in found if r["method"] == "vanilla")
    own = [r for r in found if r["method"] == name and "validation" in r]
    good = [r for r in own if r["validation"] >= vanilla["validation"] - MARGIN]
    if good:
        return min(good, key=lambda r: (r["nfe_validation"], -r["validation"]))["weight"]
    return max(own, key=lambda r: r["validation"])["weight"]


def recorded(out: Path) -> Ledger:
    """The records in that folder."""
    return Ledger(out / "records.jsonl")


def search(task: Any, settings: Settings, out: Path, names: list[str]) -> None:
    """Every method at each of its weights, on validation data."""
    for name in names:
        for weight in METHODS[name].weights:
            about = {"kind": "search", "method": name, "weight": weight}
            run = lambda: train(task, METHODS[name], weight, settings, SEARCH_SEED)[1]  # noqa: B023
            recorded(out).attempt(about, run)


def final(task: Any, settings: Settings, out: Path, names: list[str], seeds: int) -> None:
    """The chosen weights, on test data."""
    ledger = recorded(out)
    found = ledger.all(kind="search")
    for seed in range(seeds):
        for name in names:
            weight = chosen(found, name)
            about = {"kind": "final", "method": name, "weight": weight, "seed": seed}
            ledger.attempt(about, lambda: tested(task, name, weight, settings, seed, out))  # noqa: B023


def tested(task: Any, name: str, weight: float, settings: Settings, seed: int, out: Path) -> dict[str, Any]:
    """Train, keep the model, and look at the test data once."""
    trained, record = train(task, METHODS[name], weight, settings, seed)
    (out / "models").mkdir(parents=True, exist_ok=True)
    eqx.tree_serialise_leaves(out / "models" / f"{name}-seed{seed}.eqx", trained.model)
    test = evaluate(task, trained.model, trained.solver, task.test, settings.batch_size)
    outputs = [
        predict(task, trained.model, trained.solver, jax.tree.map(lambda x: x[i : i + settings.batch_size], task.test))  # noqa: B023
        for i in range(0, len(task.test.y), settings.batch_size)
    ]
    correct = np.concatenate([np.argmax(p.outputs, -1) for p in outputs]) == task.test.y
    return {
        **record,
        "test": test.metric,
        "test_loss": test.loss,
        "nfe": test.nfe,
        "correct": np.packbits(correct).tobytes().hex(),
    }


def in_float64(task: Any, settings: Settings, out: Path, names: list[str]) -> None:
    """Does anything hang on the dtype? The chosen weights on float64 data, which the solve then follows."""
    ledger = recorded(out)
    found = ledger.all(kind="search")
    task = doubled(task)
    for name in names:
        weight = chosen(found, name)
        about = {"kind": "float64", "method": name, "weight": weight}
        with jax.enable_x64(True):
            ledger.attempt(about, lambda: _float64(task, METHODS[name], weight, settings))  # noqa: B023


def _float64(task: Any, method: Method, weight: float, settings: Settings) -> dict[str, Any]:
    """The record of one training, with the dtype that its outputs have."""
    trained, record = train(task, method, weight, settings, 0)
    few = jax.tree.map(lambda x: x[:8], task.validation)
    return {**record, "dtype": str(predict(task, trained.model, trained.solver, few).outputs.dtype)}


def timings(task: Any, settings: Settings, out: Path, names: list[str], seeds: int, repeats: int) -> None:
    """Predictions of the final models and training steps with their penalties, in turns, so that the pace is shared.

    Vanilla takes part in every round of turns; each record has its time in the same round.
    """
    ledger = recorded(out)
    found = ledger.all(kind="search")
    for seed in range(seeds):
        finals = {
            r["method"]: r
            for r in ledger.all(kind="final", seed=seed)
            if "error" not in r and r["weight"] == chosen(found, r["method"])
        }
        done = {(r["method"], r["nfe"]) for r in ledger.all(kind="time", seed=seed)}
        pending = [name for name in names if name in finals and (name, finals[name]["nfe"]) not in done]
        if not pending:
            continue
        load = lambda name: eqx.tree_deserialise_leaves(
            out / "models" / f"{name}-seed{seed}.eqx",  # noqa: B023
            task.init(jax.random.key(0)),
        )
        models = {name: load(name) for name in dict.fromkeys(["vanilla", *pending])}
        batch = jax.tree.map(lambda x: jnp.asarray(x[: settings.batch_size]), task.test)
        programs = {}
        for name, model in models.items():
            own, penalty = solver(METHODS[name].first_step), METHODS[name].penalty
            programs[name, "predict"] = _predicting(task, own, model, batch)
            programs[name, "step"] = _stepping(task, own, model, batch, None)
            if penalty is not None:
                penalised = penalty(finals[name]["weight"])
                programs[name, "penalised step"] = _stepping(task, own, model, batch, penalised)
        times = in_turns(programs, repeats)
        vanilla = statistics.median(times["vanilla", "predict"])
        for (name, what), ms in times.items():
            about = {"kind": "time", "method": name, "seed": seed, "what": what, "nfe": finals[name]["nfe"]}
            ledger.once(about, lambda: {"ms": statistics.median(ms), "all": ms, "vanilla_ms": vanilla})  # noqa: B023


def _predicting(task: Any, own: kx.Adaptive, model: Any, batch: Any) -> Callable[[], Any]:
    run = jax.jit(lambda model, batch: task.predict(model, own, batch).outputs)
    return lambda: run(model, batch)


def _stepping(task: Any, own: kx.Adaptive, model: Any, batch: Any, penalty: Any) -> Callable[[], Any]:
    """The gradient of the loss at `model`: a training step without the optimiser, which is the same for all."""
    options = {} if penalty is None else {"penalty": penalty}
    run = jax.jit(jax.grad(lambda model: task.loss(model, own, batch, jax.random.key(1), **options)[0]))
    return lambda: run(model)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=["search", "final", "time", "float64"])
    parser.add_argument("--data-dir", type=Path, required=True, help="directory with mnist10k.npz")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--steps", type=int, default=300, help="of training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--methods", nargs="*", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--reverse", action="store_true", help="begin with the last method: a second worker")
    given = parser.parse_args(arguments)
    task = build("mnist", data_dir=given.data_dir)
    settings = Settings(train_steps=given.steps, batch_size=512, lr=1e-3, lr_decay=1.0)
    names = given.methods[::-1] if given.reverse else given.methods
    if given.stage == "search":
        search(task, settings, given.out, names)
    elif given.stage == "final":
        final(task, settings, given.out, names, given.seeds)
    elif given.stage == "float64":
        in_float64(task, settings, given.out, ["vanilla", "budget-2"])
    else:
        timings(task, settings, given.out, names, given.seeds, given.repeats)


if __name__ == "__main__":
    ending.run(main, program="experiments")

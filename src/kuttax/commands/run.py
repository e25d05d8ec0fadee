"""One training run from its options to its record and its files: what `train` and `compare` share."""

import importlib.metadata
import platform
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from ..atomic import whole
from ..report import density as drawing
from ..solvers.adaptive import Adaptive
from ..solvers.base import title
from ..solvers.solution import SolveError
from ..solvers.tableaus import TSIT5
from ..tasks.base import Task
from ..training.certify import certify_run
from ..training.checkpoint import save_run
from ..training.evaluate import Evaluation, evaluate, prediction_ms
from ..training.log import Log
from ..training.loop import Trainer
from .step_control import history

_REPEATS = 30  # of a timed prediction
_CERTIFIED = 1024  # validation samples, at most


def reference() -> Adaptive:
    """The solver that asks whether a field means anything without its own: Tsit5 at 1e-6."""
    return Adaptive(TSIT5, 1e-6, 1e-6)


def run(
    trainer: Trainer, seed: int, about: dict[str, Any], options: dict[str, Any], directory: Path, console: Console
) -> dict[str, Any]:
    """Train with one seed, test once, certify on validation data, save the run and return its record.

    Args:
        trainer: Of the task and solver.
        seed: Of the weights and of the order of the data.
        about: What the record says of the run beside its results: task, method, label, budget, penalty.
        options: The named task's, from `task_options`: they are saved, so that the run can be built again.
        directory: Where model, solver and metrics go.
        console: For the progress bar.
    """
    task, size, steps = trainer.task, trainer.settings.batch_size, trainer.settings.train_steps
    metrics = directory / "metrics.jsonl"
    metrics.unlink(missing_ok=True)
    with Log(console, f"{about['label']}, seed {seed}", steps, metrics) as log:
        trained = trainer.run(seed, log)
    model, solver = trained.model, trained.solver
    test = evaluate(task, model, solver, task.test, size)
    resolved = _resolve(task, model, size)
    certificate = certify_run(task, model, solver, task.validation, size, _CERTIFIED)
    record = {
        "kind": "run",
        **about,
        "metric": task.metric._asdict(),
        "seed": seed,
        "solver": title(solver),
        "steps_trained": steps,
        "best_step": trained.best_step,
        "batch_size": size,
        "validation": trained.validation.metric,
        "test": test.metric,
        "test_loss": test.loss,
        "test_reference": None if resolved is None else resolved.metric,
        "nfe": test.nfe,
        "nfe_reference": None if resolved is None else resolved.nfe,
        "certificate": {
            "verdict": certificate.verdict,
            "reasons": certificate.reasons,
            "samples": certificate.measured.samples,
        },
        "predict_ms": prediction_ms(task, model, solver, task.test, size, _REPEATS),
        "train_seconds": trained.train_seconds,
        "compile_seconds": trained.compile_seconds,
        "step_ms": trained.step_ms,
        **environment(),
    }
    if trained.controlled is not None:
        record["step_control"] = history(trained.controlled, trainer.solver, solver)
    saved = {"name": task.name, "options": options}
    settings = asdict(trainer.settings)
    save_run(directory, model, solver, {"task": saved, "settings": settings, "record": record})
    _draw_density(task, model, directory)
    return record


def _draw_density(task: Any, model: Any, directory: Path) -> None:
    """Numbers and picture of a density, where the task has one that can be drawn."""
    seen = task.portrait(model) if hasattr(task, "portrait") else None
    if seen is None:
        return
    path = directory / "density.npz"
    with whole(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **seen._asdict())
    drawing.plot(path)


def _resolve(task: Task, model: Any, size: int) -> Evaluation | None:
    """The test without the model's own solver; None where that solve fails, for then the field means nothing alone."""
    try:
        return evaluate(task, model, reference(), task.test, size)
    except SolveError:
        return None


def task_options(task_kind: Any) -> dict[str, Any]:
    """A named task's options as JSON holds them."""
    values = {field.name: getattr(task_kind, field.name) for field in fields(task_kind)}
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def environment() -> dict[str, Any]:
    """Versions, device and time, for every record."""
    packages = ("kuttax", "jax", "equinox", "diffrax", "optax", "numpy")
    device = jax.devices()[0]
    return {
        "versions": {"python": platform.python_version(), **{p: importlib.metadata.version(p) for p in packages}},
        "device": device.platform if device.platform == "cpu" else device.device_kind,
        "dtype": "float32",
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }

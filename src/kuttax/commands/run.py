"""One training run from its options to its record and its files: the common part of `train` and `compare`."""

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from ..errors import UserError
from ..io.atomic import replacing, write_json
from ..io.checkpoints import Checkpoint, Checkpoints
from ..io.folder import Folder
from ..io.records import as_json
from ..report import density, fan, forecast, reconstruction
from ..solvers.base.solution import SolveError
from ..solvers.base.solver import AbstractSolver, title
from ..solvers.rk.adaptive.adaptive import Adaptive
from ..solvers.rk.tableaus import TSIT5
from ..tasks.abilities import HasFan, HasForecast, HasPortrait, HasReconstruction, reference_of
from ..tasks.base import Task
from ..training.certify import MOST_SAMPLES, certify_run
from ..training.checkpoint import save_run
from ..training.evaluate import Evaluation, evaluate, prediction_ms
from ..training.log import Log
from ..training.loop import Trained, Trainer
from ..training.parallel import Placement, together
from ..validity import Certificate
from .options.step_control import history
from .saved.kept import picture
from .versions import versions

METRICS = "metrics.jsonl"
"""The metrics file of a run: a line for each dispatch of training."""

_REPEATS = 30  # repeats when a prediction is timed


def reference(task: Any) -> AbstractSolver:
    """The solver for comparison with the model's own: the task's `reference`, or Tsit5 at 1e-6."""
    return reference_of(task) or Adaptive(TSIT5, 1e-6, 1e-6)


def reference_name(task: Any) -> str:
    """The name of that solver."""
    own = reference_of(task)
    return "Tsit5 at 1e-6" if own is None else title(own)


def describe_metric(value: float | None, unit: str) -> str:
    """A record's metric as text; None is a number that was not finite, which JSON does not have."""
    if value is None or not math.isfinite(value):
        return "not finite"
    return f"{value:{'.2f' if unit == '%' else '.4g'}} {unit}".rstrip()


def describe_nfe(counts: Mapping[str, Any]) -> str:
    """Evaluations of the field as text; for an SDE those of drift and diffusion."""
    known = lambda value: "unknown" if value is None or value != value else f"{value:.4g}"
    diffusion = counts.get("nfe_diffusion")
    return known(counts["nfe"]) + ("" if diffusion is None else f" of the drift, {known(diffusion)} of the diffusion")


def describe_verdict(certificate: Mapping[str, Any]) -> str:
    """A record's certificate as text."""
    in_law = certificate.get("in_law")
    if in_law is None:
        return f"still an ODE: {certificate['verdict']}"
    return f"the same without its solver: {certificate['verdict']} on paths, {in_law} in law"


def run(
    trainer: Trainer,
    seed: int,
    about: dict[str, Any],
    options: dict[str, Any],
    folder: Folder,
    console: Console,
    checkpoints: Checkpoints | None = None,
    *,
    resume: bool = False,
) -> dict[str, Any]:
    """Train with one seed, test once, certify on validation data, save the run and return its record.

    The arguments are those of `train` and `recorded`.
    """
    trained = train(trainer, seed, about["label"], folder, console, checkpoints, resume=resume)
    return recorded(trainer, trained, seed, about, options, folder)


def train(
    trainer: Trainer,
    seed: int,
    label: str,
    folder: Folder,
    console: Console,
    checkpoints: Checkpoints | None = None,
    *,
    resume: bool = False,
) -> Trained:
    """Train with one seed and report the progress, in all processes of the run.

    Args:
        trainer: The trainer of the task and solver.
        seed: Seed of the weights and of the order of the data.
        label: The name of the run.
        folder: The folder of the metrics.
        console: For the progress bar, and messages about checkpoints and failed steps.
        checkpoints: Where training is saved while it runs; the caller clears them when the record is saved.
        resume: Continue from the newest of them, if there is one.
    """
    say = console.out
    place, steps = trainer.place, trainer.settings.train_steps
    start = _start(place, checkpoints, say) if checkpoints is not None and resume else None
    if start is not None:
        say(f"{label}, seed {seed}: going on at training step {start.step}")
    elif checkpoints is not None and place.leads:
        checkpoints.clear()
    since = 0 if start is None else start.step
    metrics = folder.path / METRICS if place.leads else None
    with ExitStack() as open_files:
        if place.leads:
            open_files.enter_context(folder.writing(METRICS))
        log = open_files.enter_context(Log(console, f"{label}, seed {seed}", steps, metrics, since))
        trained = trainer.run(seed, log, checkpoints, start)
    if (failures := trained.failures.describe(trainer.settings)) is not None:
        say(f"{label}, seed {seed}: {failures}")
    return trained


def _start(place: Placement, checkpoints: Checkpoints, say: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint, the same in all processes; the first process reads it before the others."""
    step = lambda found: 0 if found is None else 1 + found.step
    seen = together(place, lambda: checkpoints.latest(say) if place.leads else None)
    newest = place.largest(step(seen))

    def found() -> Checkpoint | None:
        start = seen if place.leads else checkpoints.latest(say)
        if step(start) != newest:
            raise UserError(f"{checkpoints.directory} is not the same in all processes: --resume needs a shared --out")
        return start

    return together(place, found)


def recorded(
    trainer: Trainer, trained: Trained, seed: int, about: dict[str, Any], options: dict[str, Any], folder: Folder
) -> dict[str, Any]:
    """Test once, certify on validation data, save the run and return its record.

    Args:
        trainer, trained, seed: The finished training.
        about: The record's description of the run: task, method, label, budget, penalty.
        options: The named task's, from `options_as_json`: they are saved, so that the run can be built again.
        folder: The folder of model and solver.
    """
    task, size, steps = trainer.task, trainer.settings.batch_size, trainer.settings.train_steps
    record = {
        "kind": "run",
        **about,
        "seed": seed,
        "steps_trained": steps,
        "best_step": trained.best_step,
        "validation": trained.validation.metric,
        **results(task, trained.model, trained.solver, size, about, folder),
        "train_seconds": trained.train_seconds,
        "compile_seconds": trained.compile_seconds,
        "step_ms": trained.step_ms,
        "failures": trained.failures._asdict(),
        "devices": trainer.place.devices,
        "processes": trainer.place.processes,
        **environment(),
    }
    if trained.controlled is not None:
        record["step_control"] = history(trained.controlled, trainer.solver, trained.solver)
    saved = {"task": {"name": task.name, "options": options}, "settings": asdict(trainer.settings), "record": record}
    save_run(folder, trained.model, trained.solver, saved)
    return record


def results(
    task: Any,
    model: Any,
    solver: AbstractSolver,
    size: int,
    about: dict[str, Any],
    folder: Folder,
    certificate: Certificate | None = None,
) -> dict[str, Any]:
    """The results of a model and its solver for a record: tested once, timed, certified on validation data.

    Forecasts, densities, fans of trajectories and reconstructions are drawn, if the task has them.

    Args:
        task, model, solver: The trained model and solver, and their task.
        size: The batch size.
        about: At least the "label" and "method", for the plots.
        folder: The folder of the plots.
        certificate: On validation data; None makes one.
    """
    test = evaluate(task, model, solver, task.test, size)
    resolved = _resolve(task, model, size)
    if certificate is None:
        certificate = certify_run(task, model, solver, task.validation, size, MOST_SAMPLES)
    record = {
        "metric": task.metric._asdict(),
        "solver": title(solver),
        "batch_size": size,
        "test": test.metric,
        "test_loss": test.loss,
        "reference": reference_name(task),
        "test_reference": None if resolved is None else resolved.metric,
        "nfe": test.nfe,
        **({} if test.nfe_diffusion is None else {"nfe_diffusion": test.nfe_diffusion}),
        "nfe_reference": None if resolved is None else resolved.nfe,
        "certificate": {
            "verdict": certificate.verdict,
            **({} if certificate.in_law is None else {"in_law": certificate.in_law}),
            "reasons": certificate.reasons,
            "samples": certificate.measured.samples,
        },
        "predict_ms": prediction_ms(task, model, solver, task.test, size, _REPEATS),
    }
    if isinstance(task, HasForecast):
        record["forecast"] = _forecast(task, model, solver, about, folder)
    if isinstance(task, HasPortrait):
        _draw(task.portrait(model), folder, "density", density.plot)
    if isinstance(task, HasFan):
        _draw(task.fan(model, solver), folder, "fan", fan.plot)
    if isinstance(task, HasReconstruction):
        _draw(task.reconstruct(model, solver), folder, "reconstruction", reconstruction.plot)
    return record


def _draw(seen: Any, folder: Folder, name: str, plot: Callable[[Path], Any]) -> None:
    """Save the numbers of a plot, a named tuple of arrays, and draw it; nothing happens if there are none."""
    if seen is None:
        return
    path = folder.path / f"{name}.npz"
    with folder.writing(path.name, *picture(name)):
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, **seen._asdict())
        plot(path)


def _resolve(task: Task, model: Any, size: int) -> Evaluation | None:
    """The test with the reference solver; None if that solve fails, since the field then depends on its solver."""
    try:
        return evaluate(task, model, reference(task), task.test, size)
    except SolveError:
        return None


def _forecast(task: Any, model: Any, solver: AbstractSolver, about: dict[str, Any], folder: Folder) -> dict[str, Any]:
    """The task's results on long forecasts; saved with an example, and drawn."""
    found = as_json(task.forecast(model, solver))
    with folder.writing("forecast.json", *picture("forecast")):
        write_json(folder.path / "forecast.json", found)
        forecast.plot({about["label"]: found}, [about["method"]], folder.path / "forecast")
    return {name: value for name, value in found.items() if name != "example"}


def environment() -> dict[str, Any]:
    """Versions, device and time, for every record."""
    device = jax.devices()[0]
    return {
        "versions": versions(),
        "device": device.platform if device.platform == "cpu" else device.device_kind,
        "dtype": "float32",
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }

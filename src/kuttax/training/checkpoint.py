"""Saved models and solvers: equinox leaves plus JSON, written atomically, without pickle."""

import warnings
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from tokenize import TokenError
from typing import Any, get_type_hints

import equinox as eqx
import jax
import numpy as np

from ..errors import UnverifiedWarning, UserError
from ..io import json_file, manifest
from ..io.atomic import replacing, write_json
from ..io.folder import Folder
from ..io.records import as_json
from ..io.shape import mismatch, shape_of
from ..solvers.base.solver import AbstractSolver
from ..solvers.serialise import load, save
from ..tasks.base import Task
from ..tasks.registry import build, task_options

_FORMAT = "kuttax-run"
_SHAPE = {"format": str, "task": {"name": str, "options": {str: object}, "inputs?": {str: str}}}
_FILES = ("model.eqx", "solver.json", "run.json")


def save_run(directory: Folder | Path, model: Any, solver: AbstractSolver, about: dict[str, Any]) -> None:
    """Write `model.eqx`, `solver.json` and `run.json` (a description of the run, and the options to rebuild it).

    The folder's manifest lists them with their digests. If an option of the task names a data file, its digest goes
    into `run.json`.

    Args:
        directory: The folder to write.
        model, solver: The trained model and solver.
        about: The contents of `run.json`.

    Raises:
        UserError: The folder has a file of one of these names that its manifest does not list.
    """
    folder = directory if isinstance(directory, Folder) else Folder(Path(directory), "save_run")
    with folder.writing(*_FILES):
        with replacing(folder.path / "model.eqx") as partial:
            eqx.tree_serialise_leaves(partial, model)
        save(folder.path / "solver.json", solver)
        task = about.get("task", {})
        if inputs := inputs_of(task.get("options", {})):
            about = {**about, "task": {**task, "inputs": inputs}}
        write_json(folder.path / "run.json", as_json({"format": _FORMAT, **about}))


def options_as_json(options: Any) -> dict[str, Any]:
    """A named task's options for `run.json`; paths are absolute, for use from any folder."""
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    return {name: as_json(x.absolute() if isinstance(x, Path) else x) for name, x in values.items()}


def inputs_of(options: Mapping[str, Any]) -> dict[str, str]:
    """The SHA-256 of the data file in the task's option `file`, if there is one, by the option's name."""
    path = options.get("file")
    return {} if path is None or not Path(path).is_file() else {"file": manifest.digest(Path(path))}


def read_run(directory: str | Path) -> dict[str, Any]:
    """The contents of a run's `run.json`.

    Raises:
        UserError: The directory contains no run, or its `run.json` was changed after saving.
    """
    path = Path(directory) / "run.json"
    try:
        about = json_file.read(path, object, "train again")
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{directory} holds no run.json: give the directory of a run that kuttax saved") from None
    if mismatch(about, _SHAPE) is not None or about["format"] != _FORMAT:
        raise UserError(f"{path} does not describe a run: give the directory of a run that kuttax saved")
    _check(path)
    return about


def batch_size_of(directory: str | Path) -> int:
    """The batch size of predictions in a saved run of `kuttax train`.

    Raises:
        UserError: The directory contains no such run.
    """
    record = read_run(directory).get("record")
    size = record.get("batch_size") if isinstance(record, dict) else None
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        path = Path(directory) / "run.json"
        raise UserError(f"{path} says no batch_size: give the directory of a run of kuttax train")
    return size


def load_model(directory: str | Path, task: Task) -> Any:
    """The model of a saved run of `task`.

    Raises:
        UserError: There is none, it is damaged, or it belongs to another task or other options.
    """
    path = Path(directory) / "model.eqx"
    if not _check(path) and path.exists():
        warnings.warn(
            f"{directory} has no {manifest.NAME} with the SHA-256 of its files: whether they are those that were saved "
            "cannot be verified",
            UnverifiedWarning,
            stacklevel=2,
        )
    like = task.init(jax.random.key(0))
    try:
        with path.open("rb") as file:
            model = eqx.tree_deserialise_leaves(file, like)
            if file.read(1):
                raise ValueError("it holds more than this model")
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))):
            raise ValueError("it holds NaN or infinity")
        return model
    except FileNotFoundError:
        raise UserError(f"no model at {path}: give the directory of a run that kuttax saved") from None
    except (RuntimeError, ValueError, EOFError, OSError, MemoryError, TokenError) as error:
        reason = _reason(error)
        raise UserError(f"{path} is no model of task {task.name} with these options ({reason}): train again") from None


def _reason(error: BaseException) -> str:
    """The first sentence of an error's innermost cause: equinox's own error says where, its causes say what."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).partition("\n")[0].partition(". ")[0].rstrip(".") or type(error).__name__


def load_run(directory: str | Path, task: Task | None = None) -> tuple[Task, Any, AbstractSolver]:
    """The task, model and solver of a saved run.

    Args:
        directory: The output folder of `kuttax train` or `save_run`.
        task: Your own task; None builds the named task of the run.

    Raises:
        UserError: Something is missing or damaged; the message names it.
    """
    if task is None:
        task = _named_task(directory)
    solver = Path(directory) / "solver.json"
    _check(solver)
    return task, load_model(directory, task), load(solver)


def _check(path: Path) -> bool:
    """Whether the manifest beside a file has its digest; raises if the file's digest differs."""
    return Folder(path.parent, "load_run").check(path.name, "train again")


def _named_task(directory: str | Path) -> Task:
    about = read_run(directory)["task"]
    options = task_options(about["name"])
    hints = get_type_hints(options)
    wrong = mismatch(about["options"], {f"{name}?": shape_of(kind) for name, kind in hints.items()}, "task.options")
    if wrong is not None:
        raise UserError(f"{Path(directory) / 'run.json'} is damaged ({wrong}): train again")
    for name, sha256 in inputs_of(about["options"]).items():
        if about.get("inputs", {}).get(name, sha256) != sha256:
            path = about["options"][name]
            raise UserError(f"{path} has changed since {directory} was trained on it: restore it, or train again")
    return build(about["name"], **about["options"])

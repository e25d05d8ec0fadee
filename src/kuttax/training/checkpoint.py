"""Models and solvers on disk: equinox leaves plus JSON, written atomically, without pickle."""

import json
from pathlib import Path
from typing import Any

import equinox as eqx
import jax

from ..atomic import whole, write_json
from ..errors import UserError
from ..records import plain
from ..solvers.base import AbstractSolver
from ..solvers.serialise import load_solver, save_solver
from ..tasks.base import Task
from ..tasks.registry import build_task

_FORMAT = "kuttax-run"


def save_run(directory: Path, model: Any, solver: AbstractSolver, about: dict[str, Any]) -> None:
    """Write `model.eqx`, `solver.json` and `run.json` (what the run was, and what is needed to build it again)."""
    directory.mkdir(parents=True, exist_ok=True)
    with whole(directory / "model.eqx") as partial:
        eqx.tree_serialise_leaves(partial, model)
    save_solver(directory / "solver.json", solver)
    write_json(directory / "run.json", plain({"format": _FORMAT, **about}))


def read_run(directory: str | Path) -> dict[str, Any]:
    """What `save_run` wrote about a run.

    Raises:
        UserError: The directory holds no run.
    """
    path = Path(directory) / "run.json"
    try:
        about = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{directory} holds no run.json: give the directory of a run that kuttax saved") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({error}): train again") from None
    if not isinstance(about, dict) or about.get("format") != _FORMAT or not isinstance(about.get("task"), dict):
        raise UserError(f"{path} does not describe a run: give the directory of a run that kuttax saved")
    return about


def batch_size_of(directory: str | Path) -> int:
    """How many samples a saved run of `kuttax train` predicts together.

    Raises:
        UserError: The directory holds no such run.
    """
    record = read_run(directory).get("record")
    size = record.get("batch_size") if isinstance(record, dict) else None
    if not isinstance(size, int) or size < 1:
        path = Path(directory) / "run.json"
        raise UserError(f"{path} says no batch_size: give the directory of a run of kuttax train")
    return size


def load_model(directory: str | Path, task: Task) -> Any:
    """The model of a saved run of `task`.

    Raises:
        UserError: There is none, it is damaged, or it belongs to another task or other options.
    """
    path = Path(directory) / "model.eqx"
    like = task.init(jax.random.key(0))
    try:
        with path.open("rb") as file:
            model = eqx.tree_deserialise_leaves(file, like)
            if file.read(1):
                raise ValueError("it holds more than this model")
            return model
    except FileNotFoundError:
        raise UserError(f"no model at {path}: give the directory of a run that kuttax saved") from None
    except (RuntimeError, ValueError, EOFError, OSError) as error:
        reason = _reason(error)
        raise UserError(f"{path} is no model of task {task.name} with these options ({reason}): train again") from None


def _reason(error: BaseException) -> str:
    """The first sentence of what is at the bottom of an error: equinox's own says where, its causes say what."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).partition("\n")[0].partition(". ")[0].rstrip(".") or type(error).__name__


def load_run(directory: str | Path, task: Task | None = None) -> tuple[Task, Any, AbstractSolver]:
    """The task, model and solver of a saved run.

    Args:
        directory: Where `kuttax train` or `save_run` put it.
        task: A task of one's own; None builds the named task that the run was made with.

    Raises:
        UserError: Something is missing or damaged; the message names it.
    """
    if task is None:
        task = _named_task(directory)
    return task, load_model(directory, task), load_solver(Path(directory) / "solver.json")


def _named_task(directory: str | Path) -> Task:
    about = read_run(directory)["task"]
    try:
        return build_task(about["name"], **about["options"])
    except (KeyError, TypeError) as error:  # the file is JSON, but not as `save_run` wrote it
        raise UserError(f"{directory}/run.json names no task that can be built ({error}): train again") from None

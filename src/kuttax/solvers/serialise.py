"""Solvers in files: JSON in full precision, readable by a person, no pickle."""

from pathlib import Path

from ..errors import UserError
from ..io import json_file
from .base.registry import from_json as from_json
from .base.registry import to_json as to_json
from .base.solver import AbstractSolver


def save(path: str | Path, solver: AbstractSolver) -> None:
    """Write a solver and its SHA-256 to a file, whole or not at all.

    A learned solver is written with its free parameters, the interval that it was trained on, and, for readers, the
    table of coefficients that they give.

    Raises:
        UserError: The solver is of a class that cannot be saved.
    """
    json_file.write_sealed(Path(path), to_json(solver))


def load(path: str | Path) -> AbstractSolver:
    """Read a solver that `save` wrote.

    Raises:
        UserError: There is no such file, it is not a solver, or it is not as it was saved.
    """
    path = Path(path)
    try:
        data = json_file.parse(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"no solver file at {path}: give the path of a solver.json that kuttax saved") from None
    except (ValueError, IsADirectoryError) as error:
        raise UserError(f"{path} is not a solver file ({error}): give a solver.json that kuttax saved") from None
    if isinstance(data, dict):
        data = json_file.opened(data, path, "save it again")
    return from_json(data, str(path))

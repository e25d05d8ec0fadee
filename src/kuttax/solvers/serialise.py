"""Files of solvers: JSON in full precision, readable by a person, no pickle."""

from pathlib import Path

from ..errors import UserError
from ..io import json_file
from .base.registry import from_json as from_json
from .base.registry import register_solver as register_solver
from .base.registry import to_json as to_json
from .base.solver import AbstractSolver
from .diffrax.ode import FromDiffrax
from .rk.adaptive.adaptive import Adaptive
from .rk.fixed import FixedSteps
from .rk.learned import LearnedRK
from .rk.reversible import Reversible
from .sde.euler_maruyama import EulerMaruyama
from .sde.learned_srk import LearnedSRK
from .sde.milstein import Milstein
from .sde.platen import Platen
from .sde.srk import SRK
from .sde.stochastic_heun import StochasticHeun

OWN = (
    *(Adaptive, FixedSteps, FromDiffrax, LearnedRK, Reversible),
    *(EulerMaruyama, LearnedSRK, Milstein, Platen, SRK, StochasticHeun),
)
"""kuttax's own classes that files hold. Their import registers them: here that is before any file is read, and before a
user's own class can take one of their names."""


def save(path: str | Path, solver: AbstractSolver) -> None:
    """Write a solver and its SHA-256 to a file, atomically.

    For a learned solver the file holds its free parameters, the interval of training and, for readers, the resulting
    table of coefficients.

    Raises:
        UserError: The solver's class cannot be saved.
    """
    json_file.write_sealed(Path(path), to_json(solver))


def load(path: str | Path) -> AbstractSolver:
    """Read a solver that `save` wrote.

    Raises:
        UserError: There is no such file, it is not a solver, or it was changed after saving.
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

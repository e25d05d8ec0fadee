"""The registry of solver classes, for files."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from ...errors import UserError
from ...io.shape import mismatch
from .solver import AbstractSolver

FORMAT, VERSION = "kuttax-solver", 1
Solver = TypeVar("Solver", bound=type[AbstractSolver])


class SolverKind(NamedTuple):
    """A class of solvers that files can contain.

    Attributes:
        make: The class.
        shape: The required shape of its data (see `kuttax.io.shape`).
    """

    make: type[AbstractSolver]
    shape: dict[str, Any]


_KINDS: dict[str, SolverKind] = {}


def register_solver(shape: dict[str, Any] | None = None) -> Callable[[Solver], Solver]:
    """A class decorator: `kx.save` and `kx.load` then find the class by its name.

    `to_data` returns the data of a solver, and `from_data` builds the solver from them. The defaults of both work for a
    class whose fields are numbers, strings and arrays.

        @kx.register_solver()
        class MySolver(kx.AbstractFixedStepSolver): ...

    Args:
        shape: The names in its data and their types; a file is checked against it before `from_data`.

    Raises:
        UserError: Another class already has that name.
    """

    def register(kind: Solver) -> Solver:
        name = kind.__name__
        if name in _KINDS and _KINDS[name].make.__module__ != kind.__module__:
            raise UserError(f"another solver is registered as {name}: give the class another name")
        _KINDS[name] = SolverKind(kind, shape or {})
        return kind

    return register


def to_json(solver: AbstractSolver) -> dict[str, Any]:
    """A solver as a dictionary that JSON can hold: a head, and the `to_data` of its class.

    Raises:
        UserError: The class is not registered, or cannot be saved.
    """
    name = type(solver).__name__
    entry = _KINDS.get(name)
    if entry is None or entry.make is not type(solver):
        raise UserError(
            f"a {name} cannot be saved: register the class with kx.register_solver(), or save what it was made from"
        )
    return {"format": FORMAT, "version": VERSION, "kind": name, **solver.to_data()}


def from_json(data: Any, source: str = "the data") -> AbstractSolver:
    """The solver that `to_json` wrote.

    Raises:
        UserError: The data are not those of a registered solver; the message names `source`.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise UserError(
            f"{source} is not a saved solver (its 'format' is not {FORMAT!r}): give a solver.json that kuttax saved"
        )
    if data.get("version") != VERSION:
        raise UserError(f"{source} has version {data.get('version')!r}, this kuttax reads {VERSION}: update kuttax")
    kind = data.get("kind")
    if isinstance(kind, str) and kind not in _KINDS:
        raise UserError(
            f"{source} holds an unknown kind of solver, {kind!r}: update kuttax, or import the module that registers it"
        )
    entry = _KINDS.get(str(kind))
    wrong = mismatch(data, {"kind": str, **(entry.shape if entry else {})})
    if wrong is not None or entry is None:
        raise UserError(f"{source} is a damaged solver file ({wrong}): save it again")
    try:
        return entry.make.from_data(data)
    except UserError as error:  # from the solver itself, or from one inside it
        text = " ".join(str(error).split())
        raise UserError(text if source in text else f"{source}: {text}") from None
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise UserError(f"{source} is a damaged solver file ({type(error).__name__}: {error}): save it again") from None

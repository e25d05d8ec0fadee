"""Solvers as JSON: full precision, readable by a person, no pickle."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..errors import UserError
from ..io import json_file
from ..io.shape import mismatch
from .base.solver import AbstractSolver
from .diffrax.ode import FromDiffrax
from .diffrax.sde import NAMED
from .rk.adaptive import Adaptive
from .rk.chart import CLOSED, AbstractChart, AbstractClosed, Projected
from .rk.fixed import FixedSteps, checked_steps
from .rk.learned import LearnedRK
from .rk.reversible import Reversible
from .rk.tableaus import ALL, Tableau
from .sde.euler_maruyama import EulerMaruyama
from .sde.fixed_sde import AbstractSDESolver
from .sde.learned_srk import LearnedSRK
from .sde.milstein import Milstein
from .sde.srk import SRK
from .sde.stochastic_heun import StochasticHeun

_FORMAT, _VERSION = "kuttax-solver", 1
_STOCHASTIC = {kind.__name__: kind for kind in (EulerMaruyama, Milstein, StochasticHeun, SRK)}
_TABLEAU = (
    str,
    {
        "name": str,
        "order": int,
        "a": [[float]],
        "b": [float],
        "error": ([float], None),
        "error_order": (int, None),
        "dense": ([[float]], None),
        "dense_order": (int, None),
    },
)
_SHAPES = {
    "FixedSteps": {"steps": int, "tableau": _TABLEAU},
    "Adaptive": {"control": str, "rtol": float, "atol": float, "tableau": _TABLEAU},
    "LearnedRK": {
        "start": str,
        "order": int,
        "stages": int,
        "steps": int,
        "trained_for": ({"t0": float, "t1": float}, None),
        "dtype": str,
        "chart": {"family": str},
        "logits": ([float], None),
        "table": {"h": [float], "a": [[[float]]], "b": [[float]], "c": [[float]]},
    },
    "Reversible": {"coupling": float, "solver": {"kind": str}},
    "LearnedSRK": {
        "start": str,
        "steps": int,
        "refine": int,
        "dtype": str,
        "lower": [[[float]]],
        "weights": [[[float]]],
    },
    **{name: {"steps": int, "refine": int} for name in _STOCHASTIC},
    "FromDiffrax": {"solver": str, "steps": (int, None), "rtol": (float, None), "atol": (float, None)},
}
"""Of the data of each kind of solver."""

_ADAPTIVE = ("rtol", "atol", "pcoeff", "icoeff", "safety", "factor_min", "factor_max", "first_step")


def to_json(solver: AbstractSolver) -> dict[str, Any]:
    """A solver as a dictionary that JSON can hold; every number is exact.

    A learned solver is written with its free parameters, the interval and direction that it is meant for, and, for
    readers, the table of coefficients that they give.

    Raises:
        UserError: The solver is of a kind that cannot be saved: `FromDiffrax`, unless it holds a named SDE solver.
    """
    head = {"format": _FORMAT, "version": _VERSION, "kind": type(solver).__name__}
    match solver:
        case FixedSteps():
            return {**head, "steps": solver.steps, "tableau": _tableau_to_json(solver.tableau)}
        case Adaptive():
            numbers = {name: _number(getattr(solver, name)) for name in _ADAPTIVE}
            return {**head, "control": solver.control, **numbers, "tableau": _tableau_to_json(solver.tableau)}
        case LearnedRK():
            return {**head, **_learned_to_json(solver)}
        case Reversible():
            return {**head, "coupling": _number(solver.coupling), "solver": to_json(solver.solver)}
        case LearnedSRK():
            free = {"lower": _array(solver.lower), "weights": _array(solver.weights)}
            size = {"steps": solver.steps, "refine": solver.refine, "dtype": str(solver.lower.dtype)}
            return {**head, **size, "start": solver.name, **free}
        case AbstractSDESolver() if type(solver) in _STOCHASTIC.values():
            return {**head, "steps": solver.steps, "refine": solver.refine}
        case FromDiffrax() if (name := _named(solver)) is not None:
            size = {"steps": solver.steps, "rtol": _number(solver.rtol), "atol": _number(solver.atol)}
            return {**head, "solver": name, **size}
    raise UserError(f"a {type(solver).__name__} cannot be saved: save what it was made from")


def from_json(data: Any, source: str = "the data") -> AbstractSolver:
    """The solver that `to_json` wrote.

    Raises:
        UserError: The data are not those of a solver; `source` is named.
    """
    if not isinstance(data, dict) or data.get("format") != _FORMAT:
        raise UserError(
            f"{source} is not a saved solver (its 'format' is not {_FORMAT!r}): give a solver.json that kuttax saved"
        )
    if data.get("version") != _VERSION:
        raise UserError(f"{source} has version {data.get('version')!r}, this kuttax reads {_VERSION}: update kuttax")
    kind = data.get("kind")
    if isinstance(kind, str) and kind not in _SHAPES:
        raise UserError(f"{source} holds an unknown kind of solver, {kind!r}: update kuttax")
    wrong = mismatch(data, {"kind": str, **_SHAPES.get(str(kind), {})})
    if wrong is not None:
        raise UserError(f"{source} is a damaged solver file ({wrong}): save it again")
    try:
        match kind:
            case "FixedSteps":
                return FixedSteps(_tableau_from_json(data["tableau"]), data["steps"])
            case "Adaptive":
                numbers = {name: data[name] for name in _ADAPTIVE}
                return Adaptive(_tableau_from_json(data["tableau"]), control=data["control"], **numbers)
            case "LearnedRK":
                return _learned_from_json(data)
            case "Reversible":
                if data["solver"]["kind"] == kind:
                    raise ValueError("a Reversible inside of another")
                return Reversible(from_json(data["solver"], source), data["coupling"])  # pyright: ignore
            case "LearnedSRK":
                return _learned_srk_from_json(data)
            case "FromDiffrax":
                return FromDiffrax(NAMED[data["solver"]](), data["rtol"], data["atol"], steps=data["steps"])
            case _:
                return _STOCHASTIC[str(kind)](data["steps"], refine=data["refine"])
    except UserError as error:  # of the solver itself, or of one within it
        text = " ".join(str(error).split())
        raise UserError(text if source in text else f"{source}: {text}") from None
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise UserError(f"{source} is a damaged solver file ({type(error).__name__}: {error}): save it again") from None


def save_solver(path: str | Path, solver: AbstractSolver) -> None:
    """Write `to_json(solver)` and its SHA-256 to a file, whole or not at all."""
    json_file.write_sealed(Path(path), to_json(solver))


def load_solver(path: str | Path) -> AbstractSolver:
    """Read a solver that `save_solver` wrote.

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


def _named(solver: FromDiffrax) -> str | None:
    """The name of the solver inside; None where it has none, or options of its own."""
    same = (name for name, make in NAMED.items() if eqx.tree_equal(solver.solver, make()) is True)
    return None if solver.options else next(same, None)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _array(value: Any) -> list:
    return np.asarray(value, np.float64).tolist()


def _tableau_to_json(tableau: Tableau) -> Any:
    """A known tableau by its name, one's own by its coefficients."""
    for name, known in ALL.items():
        if known is tableau:
            return name
    fields = {name: getattr(tableau, name) for name in ("a", "b", "error", "dense")}
    arrays = {name: None if value is None else _array(value) for name, value in fields.items()}
    orders = {name: getattr(tableau, name) for name in ("order", "error_order", "dense_order")}
    return {"name": tableau.name, **arrays, **orders}


def _tableau_from_json(data: Any) -> Tableau:
    if isinstance(data, str):
        if data not in ALL:
            raise UserError(f"unknown tableau {data!r}; known: {', '.join(ALL)}")
        return ALL[data]
    pair = {name: data[name] for name in ("error", "error_order", "dense", "dense_order")}
    return Tableau.explicit(data["name"], data["a"], data["b"], data["order"], **pair)


def _learned_to_json(solver: LearnedRK) -> dict[str, Any]:
    table = solver.table(solver.dtype)
    return {
        "start": solver.name,
        "order": solver.order,
        "stages": solver.stages,
        "steps": solver.steps,
        "trained_for": None if solver.trained_for is None else dict(zip(("t0", "t1"), solver.trained_for, strict=True)),
        "dtype": str(solver.dtype),
        "chart": _chart_to_json(solver.chart),
        "logits": None if solver.logits is None else _array(solver.logits),
        "table": {name: _array(getattr(table, name)) for name in ("h", "a", "b", "c")},
    }


def _learned_from_json(data: dict[str, Any]) -> LearnedRK:
    dtype = _floating(data["dtype"])
    logits = None if data["logits"] is None else jnp.asarray(np.array(data["logits"]), dtype)
    meant = None if data["trained_for"] is None else (data["trained_for"]["t0"], data["trained_for"]["t1"])
    chart = _chart_from_json(data, dtype)
    steps = checked_steps(data["steps"])
    solver = LearnedRK(chart=chart, logits=logits, steps=steps, name=data["start"], trained_for=meant)
    if solver.rows not in (1, steps) or (logits is not None and logits.shape != (steps,)):
        raise ValueError("parameters that do not fit the number of steps")
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(solver)):
        raise ValueError("parameters that are not finite")
    _check_table(solver, data["table"])
    return solver


def _check_table(solver: LearnedRK, written: dict[str, Any]) -> None:
    """Compare the table in a file with the one that the parameters in it give.

    Raises:
        ValueError: They differ by more than rounding.
    """
    if len(written["h"]) != solver.steps:
        raise ValueError("a table of another number of steps")
    found = solver.table(solver.dtype)
    for name in ("h", "a", "b", "c"):
        stored, own = np.array(written[name], np.float64), np.asarray(getattr(found, name), np.float64)
        least = float(jnp.finfo(solver.dtype).eps) ** 0.5 * max(1.0, float(np.abs(own).max(initial=0.0)))
        if stored.shape != own.shape or not np.all(np.abs(stored - own) <= least):
            raise ValueError("a table of coefficients that its parameters do not give")


def _floating(name: str) -> np.dtype:
    dtype = np.dtype(name)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"a dtype of {name}, which is not a floating-point one")
    return dtype


def _learned_srk_from_json(data: dict[str, Any]) -> LearnedSRK:
    lower, weights = (jnp.asarray(np.array(data[name]), _floating(data["dtype"])) for name in ("lower", "weights"))
    solver = LearnedSRK(data["steps"], lower, weights, data["start"], refine=data["refine"])
    (rows, _, below), s = lower.shape, solver.stages
    if lower.shape[1] != 4 or weights.shape != (rows, 5, s) or below != s * (s - 1) // 2 or solver.steps % rows:
        raise ValueError("parameters that do not fit each other")
    if not all(np.isfinite(leaf).all() for leaf in (lower, weights)):
        raise ValueError("parameters that are not finite")
    return solver


def _chart_to_json(chart: AbstractChart) -> dict[str, Any]:
    if isinstance(chart, Projected):
        return {"family": "Projected", "lower": _array(chart.lower), "weights": _array(chart.weights)}
    assert isinstance(chart, AbstractClosed)
    return {"family": type(chart).__name__, "free": _array(chart.free)}


def _chart_from_json(data: dict[str, Any], dtype) -> AbstractChart:
    chart = data["chart"]
    arrays = {k: jnp.asarray(np.array(v, np.float64), dtype) for k, v in chart.items() if k != "family"}
    if chart["family"] == "Projected":
        result = Projected(**arrays, order=data["order"], stages=data["stages"])
        widths = {"lower": result.stages * (result.stages - 1) // 2, "weights": result.stages}
    else:
        family = {family.__name__: family for family in CLOSED}[chart["family"]]
        result = family(**arrays)
        widths = {"free": len(family.bend(jnp.zeros(family.stages)))}
    rows = len(next(iter(arrays.values())))
    if any(arrays[name].shape != (rows, width) for name, width in widths.items()):
        raise ValueError("parameters that do not fit the number of stages")
    return result

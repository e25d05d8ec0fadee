"""The teacher: the solutions of a frozen field's starts, in float64, in parts that can be stored."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from .._solve.solve import solve
from .._types import VectorField
from ..errors import UserError
from ..solvers.base.solution import SolveError
from ..solvers.base.solver import AbstractSolver, title
from ..solvers.rk.adaptive.adaptive import Adaptive
from ..solvers.rk.tableaus import DOPRI5
from .frozen import Frozen
from .keep import Keep
from .path import INTERVALS, Path
from .precision import cast, double_precision
from .starts import Pairs

_PART = 2**18  # numbers in the states that are solved at once
_HINTS = 4  # starts whose slopes tell one field from another


@runtime_checkable
class HasTeacher(Protocol):
    """A field that knows how to be solved accurately, as one that computes in float32 does."""

    def teacher(self) -> AbstractSolver: ...


def teacher_of(field: VectorField) -> AbstractSolver:
    """The field's own teacher; else DOPRI5 at 1e-8, every start with its own steps."""
    return field.teacher() if isinstance(field, HasTeacher) else Adaptive(DOPRI5, 1e-8, 1e-8, control="per_sample")


def taught(
    frozen: Frozen,
    y0: PyTree,
    solver: AbstractSolver,
    *,
    whole: bool = False,
    keep: Keep | None = None,
    say: Callable[[int, int], None] = lambda done, number: None,
) -> Pairs:
    """The starts with their ends, float64 NumPy arrays shaped like y0.

    Args:
        frozen: The field, for one state; its own arrays and those of its args are cast to float64.
        y0: The starts, along the leading axis.
        solver: An accurate one, such as `teacher_of(field)`.
        whole: Whether the pairs have the paths between start and end too.
        keep: Stores the solutions part by part, and has those of an earlier call.
        say: Receives the number of starts that are solved, and of all.

    Raises:
        UserError: The field computes in a fixed dtype, or this solver finds no solution.
    """
    frozen, starts = cast((frozen, y0), np.float64)
    number = len(jax.tree.leaves(y0)[0])
    part = min(number, max(64, _PART // sum(x[0].size for x in jax.tree.leaves(y0))))
    with double_precision():
        _check_precision(frozen, starts)
        about = (title(solver), whole, part, frozen.t0, frozen.t1, frozen.args, starts, _hints(frozen, starts))
        stored = (keep or Keep(None)).stored("teacher", about)
        solved = stored.found() or []
        done = len(solved[0]) if solved else 0
        say(done, number)
        while done < number:
            new = jax.tree.leaves(_solved(frozen, solver, _rows(starts, done, part), whole=whole))
            new = [x[: number - done] for x in new]
            solved = [np.concatenate(pair) for pair in zip(solved, new, strict=True)] if solved else new
            done = len(solved[0])
            stored.save(solved, now=done == number)
            say(done, number)
    structure = jax.tree.structure((y0, Path(y0, y0) if whole else None))
    return Pairs(y0, *jax.tree.unflatten(structure, solved))


def _rows(y0: PyTree, begin: int, count: int) -> PyTree:
    """`count` starts from `begin` on, the last one repeated where there are no more: all parts have one program."""
    return jax.tree.map(lambda x: x[np.minimum(np.arange(begin, begin + count), len(x) - 1)], y0)


def _solved(frozen: Frozen, solver: AbstractSolver, y0: PyTree, *, whole: bool) -> tuple[PyTree, Path | None]:
    """The ends and the paths of some starts."""
    t0, t1 = frozen.t0, frozen.t1
    ts = np.linspace(t0, t1, INTERVALS + 1)
    options: dict[str, Any] = {"args": frozen.args, "batch_axis": 0, "max_steps": 100_000}
    try:
        sol = solve(frozen.field, y0, t0, t1, solver=solver, ts=ts if whole else None, **options)
    except SolveError as error:
        raise UserError(f"the teacher finds no solution: {error}") from None
    if not whole:
        return jax.tree.map(np.asarray, sol.y1), None
    slopes = _slopes(frozen, ts, sol.ys)
    first = lambda tree: jax.tree.map(lambda x: np.moveaxis(np.asarray(x), 1, 0), tree)
    return jax.tree.map(np.asarray, sol.y1), Path(first(sol.ys), first(slopes))


@eqx.filter_jit
def _slopes(frozen: Frozen, ts: Any, ys: PyTree) -> PyTree:
    """The derivatives of states (times, starts, ...) with respect to the share of the interval."""
    field = lambda t, y: frozen.field(t, y, frozen.args)
    slopes = jax.lax.map(lambda at: jax.vmap(lambda y: field(at[0], y))(at[1]), (jnp.asarray(ts), ys))
    return jax.tree.map(lambda k: k * (frozen.t1 - frozen.t0), slopes)


def _hints(frozen: Frozen, y0: PyTree) -> PyTree:
    """Some slopes, at the first time and in the middle: those of another field are others."""
    times = np.array([frozen.t0, (frozen.t0 + frozen.t1) / 2])
    few = jax.tree.map(lambda x: np.broadcast_to(x[:_HINTS], (2, *x[:_HINTS].shape)), y0)
    return _slopes(frozen, times, few)


def _check_precision(frozen: Frozen, y0: PyTree) -> None:
    one = jax.tree.map(lambda x: x[0], y0)
    slope = eqx.filter_eval_shape(frozen.field, np.asarray(frozen.t0, np.float64), one, frozen.args)
    kinds = {str(leaf.dtype) for leaf in jax.tree.leaves(slope)} - {"float64"}
    if kinds:
        raise UserError(
            f"the field returns {' and '.join(sorted(kinds))} for a float64 state, and the teacher needs float64: "
            "let the field compute in the dtype of y"
        )

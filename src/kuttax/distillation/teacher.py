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
from ..solvers.base.solver import AbstractSolver
from ..solvers.rk.adaptive.adaptive import Adaptive
from ..solvers.rk.tableaus import DOPRI5
from .frozen import Frozen
from .keep import Keep
from .path import Path
from .precision import cast, double_precision
from .starts import Pairs

_PART = 2**18  # numbers in the states that are solved at once
_HINTS = 9  # times at which slopes tell one field from another
_SAME = 1e-5  # relative difference of slopes that rounding, in another order, may make


@runtime_checkable
class HasTeacher(Protocol):
    """A field that knows how to be solved accurately, as one that computes in float32 does."""

    def teacher(self) -> AbstractSolver: ...


@runtime_checkable
class HasLook(Protocol):
    """A field that can look whether its derivatives would be right, at a batch of states."""

    def look(self, t: Any, y: PyTree, args: Any, args_axes: Any) -> None: ...


def teacher_of(field: VectorField) -> AbstractSolver:
    """The field's own teacher; else DOPRI5 at 1e-8, every start with its own steps."""
    return field.teacher() if isinstance(field, HasTeacher) else Adaptive(DOPRI5, 1e-8, 1e-8, control="per_sample")


def taught(
    frozen: Frozen,
    y0: PyTree,
    solver: AbstractSolver,
    *,
    own: PyTree = None,
    cells: int = 0,
    keep: Keep | None = None,
    say: Callable[[int, int], None] = lambda done, number: None,
) -> Pairs:
    """The starts with their ends, which are float64 NumPy arrays shaped like y0.

    Args:
        frozen: The field, for one state; its own arrays and those of its args are cast to float64.
        y0: The starts, along the leading axis.
        solver: An accurate one, such as `teacher_of(field)`.
        own: What each start has of its own in the field's args.
        cells: Equal parts of the paths between start and end that the pairs have too; 0 for no paths.
        keep: Stores the solutions part by part, and has those of an earlier call.
        say: Receives the number of starts that are solved, and of all.

    Raises:
        UserError: The field computes in a fixed dtype, or this solver finds no solution.
    """
    frozen, starts, given = cast((frozen, y0, own), np.float64)
    number = len(jax.tree.leaves(y0)[0])
    part = min(number, max(64, _PART // sum(x[0].size for x in jax.tree.leaves(y0))))
    with double_precision():
        _check_precision(frozen, starts, given)
        # The field's own arrays; what a function closes over shows in its slopes.
        known = eqx.filter(frozen.field, eqx.is_array), frozen.args, frozen.t0, frozen.t1, given
        stored = (keep or Keep(None)).stored("teacher", (type(solver).__name__, solver, cells, part, known, starts))
        solved = _of_this_field(frozen, starts, given, stored.found(), cells)
        done = len(solved[0]) if solved else 0
        say(done, number)
        while done < number:
            few, few_own = _rows((starts, given), done, part)
            found = _solved(frozen, solver, few, few_own, cells)
            hints = [_hints(frozen, few, few_own, found[0])] if stored else []
            new = [x[: number - done] for x in [*hints, *jax.tree.leaves(found)]]
            solved = [np.concatenate(pair) for pair in zip(solved, new, strict=True)] if solved else new
            done = len(solved[0])
            stored.save(solved, now=done == number)
            say(done, number)
    return Pairs(y0, *_unpacked(y0, solved[1:] if stored else solved, cells), own)


def _unpacked(y0: PyTree, arrays: list[Any], cells: int) -> tuple[PyTree, Path | None]:
    """The ends and the paths of these arrays, for starts like y0."""
    return jax.tree.unflatten(jax.tree.structure((y0, Path(y0, y0) if cells else None)), arrays)


def _rows(y0: PyTree, begin: int, count: int) -> PyTree:
    """`count` starts from `begin` on, the last one repeated where there are no more: all parts have one program."""
    return jax.tree.map(lambda x: x[np.minimum(np.arange(begin, begin + count), len(x) - 1)], y0)


def _solved(frozen: Frozen, solver: AbstractSolver, y0: PyTree, own: PyTree, cells: int) -> tuple[PyTree, Path | None]:
    """The ends and the paths of some starts."""
    t0, t1 = frozen.t0, frozen.t1
    ts = np.linspace(t0, t1, cells + 1) if cells else None
    options: dict[str, Any] = {"args": own, "args_axes": 0, "batch_axis": 0, "max_steps": 100_000}
    try:
        sol = solve(frozen, y0, t0, t1, solver=solver, ts=ts, **options)
    except SolveError as error:
        raise UserError(f"the teacher finds no solution: {error}") from None
    if not cells:
        return jax.tree.map(np.asarray, sol.y1), None
    first = lambda tree: jax.tree.map(lambda x: np.moveaxis(np.asarray(x), 1, 0), tree)
    return jax.tree.map(np.asarray, sol.y1), Path(first(sol.ys), first(_slopes(frozen, ts, sol.ys, own)))


@eqx.filter_jit
def _slopes(frozen: Frozen, ts: Any, ys: PyTree, own: PyTree) -> PyTree:
    """The derivatives of states (times, starts, ...) with respect to the share of the interval."""
    slope = jax.vmap(frozen, in_axes=(None, 0, 0))
    slopes = jax.lax.map(lambda at: slope(at[0], at[1], own), (jnp.asarray(ts), ys))
    return jax.tree.map(lambda k: k * (frozen.t1 - frozen.t0), slopes)


def _hints(frozen: Frozen, start: PyTree, own: PyTree, end: PyTree) -> np.ndarray:
    """What tells one field from another: slopes at several times on the straight line from each start to its end.

    Of each slope its length, and its product with a fixed vector: (starts, times, 2).
    """
    shares = np.linspace(0, 1, _HINTS)
    line = jax.tree.map(lambda a, b: np.stack([a + s * (b - a) for s in shares]), start, end)
    slopes = _slopes(frozen, frozen.t0 + (frozen.t1 - frozen.t0) * shares, line, own)
    flat = np.concatenate([np.asarray(k).reshape(*k.shape[:2], -1) for k in jax.tree.leaves(slopes)], axis=2)
    fixed = np.random.default_rng(0).normal(size=flat.shape[2])
    return np.stack([np.linalg.norm(flat, axis=2), flat @ fixed], axis=2).swapaxes(0, 1)


def _of_this_field(frozen: Frozen, y0: PyTree, own: PyTree, solved: list[Any] | None, cells: int) -> list[Any]:
    """The stored solutions, if this is the field that they are of; else none."""
    if not solved:
        return []
    hints, number = solved[0], len(solved[0])
    end, _ = _unpacked(y0, solved[1:], cells)
    few, few_own = jax.tree.map(lambda x: x[:number], (y0, own))
    now = _hints(frozen, few, few_own, end)
    same = np.abs(now - hints) <= _SAME * np.abs(hints).max(axis=(0, 1))
    return solved if same.all() else []


def _check_precision(frozen: Frozen, y0: PyTree, own: PyTree) -> None:
    one = jax.tree.map(lambda x: x[0], (y0, own))
    slope = eqx.filter_eval_shape(frozen, np.asarray(frozen.t0, np.float64), *one)
    kinds = {str(leaf.dtype) for leaf in jax.tree.leaves(slope)} - {"float64"}
    if kinds:
        raise UserError(
            f"the field returns {' and '.join(sorted(kinds))} for a float64 state, and the teacher needs float64: "
            "let the field compute in the dtype of y"
        )

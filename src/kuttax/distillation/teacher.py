"""The teacher: the ends of a frozen field's starts, in float64."""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from .._solve.solve import solve
from .._types import VectorField
from ..errors import UserError
from ..solvers.base.solution import SolveError
from ..solvers.base.solver import AbstractSolver
from ..solvers.rk.adaptive.adaptive import Adaptive
from ..solvers.rk.tableaus import DOPRI5
from .precision import cast, double_precision


@runtime_checkable
class HasTeacher(Protocol):
    """A field that knows how to be solved accurately, as one that computes in float32 does."""

    def teacher(self) -> AbstractSolver: ...


def teacher_of(field: VectorField) -> AbstractSolver:
    """The field's own teacher; else DOPRI5 at 1e-8, every start with its own steps."""
    return field.teacher() if isinstance(field, HasTeacher) else Adaptive(DOPRI5, 1e-8, 1e-8, control="per_sample")


def ends(field: VectorField, y0: PyTree, t0: float, t1: float, args: Any, solver: AbstractSolver) -> PyTree:
    """The states at t1, float64 NumPy arrays shaped like y0.

    Args:
        field: The field for one state; its own arrays and those of `args` are cast to float64.
        y0: The starts, along the leading axis.
        t0, t1: The interval.
        args: Passed to the field.
        solver: An accurate one, such as `teacher_of(field)`.

    Raises:
        UserError: The field computes in a fixed dtype, or this solver finds no solution.
    """
    field, y0, args = cast((field, y0, args), np.float64)
    with double_precision():
        _check_precision(field, y0, t0, args)
        try:
            y1 = solve(field, y0, t0, t1, solver=solver, args=args, batch_axis=0, max_steps=100_000).y1
        except SolveError as error:
            raise UserError(f"the teacher finds no solution: {error}") from None
        return jax.tree.map(np.asarray, y1)


def _check_precision(field: VectorField, y0: PyTree, t0: float, args: Any) -> None:
    one = jax.tree.map(lambda x: x[0], y0)
    slope = eqx.filter_eval_shape(field, np.asarray(t0, np.float64), one, args)
    kinds = {str(leaf.dtype) for leaf in jax.tree.leaves(slope)} - {"float64"}
    if kinds:
        raise UserError(
            f"the field returns {' and '.join(sorted(kinds))} for a float64 state, and the teacher needs float64: "
            "let the field compute in the dtype of y"
        )

"""A frozen field on one interval, and the ends of solvers there."""

from collections.abc import Hashable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree

from .._solve.reads import beside_arrays, reads
from .._solve.solve import solve
from .._types import VectorField
from ..adjoints.forward import ForwardMode
from ..solvers.base.solver import AbstractSolver


class Frozen(eqx.Module):
    """dy/dt = field(t, y, args) from t0 to t1; a vector field of what each start has of its own in the args.

    Attributes:
        field: The vector field, for one state.
        args: Passed to the field; None stands for each part of which every start has its own.
        t0, t1: The interval (static).
        beside: What the field reads beside its arguments (static): a program is compiled again if it has changed.
    """

    field: VectorField
    args: Any
    t0: float = eqx.field(static=True)
    t1: float = eqx.field(static=True)
    beside: Hashable = eqx.field(static=True)

    def __init__(self, field: VectorField, args: Any, t0: float, t1: float):
        self.field, self.args, self.t0, self.t1 = field, args, t0, t1
        self.beside = tuple(reads(x) for x in (field, *beside_arrays(args)))

    def __call__(self, t: Any, y: PyTree, own: PyTree = None) -> PyTree:
        """The derivative of the state `y` of a start with these own args."""
        return self.field(t, y, eqx.combine(self.args, own))

    def end(self, solver: AbstractSolver, start: PyTree, own: PyTree = None) -> PyTree:
        """The end of one start with `solver`; NaN if it fails. Differentiable in both modes."""
        options = {"solver": solver, "args": own, "adjoint": ForwardMode(), "throw": False}
        return solve(self, start, self.t0, self.t1, **options).y1


@eqx.filter_jit
def ends(frozen: Frozen, solver: AbstractSolver, starts: PyTree, own: PyTree = None) -> PyTree:
    """The ends of all starts with `solver`."""
    return jax.vmap(lambda start, own: frozen.end(solver, start, own))(starts, own)

"""A frozen field on one interval, with the errors of solvers at its end; states are vectors."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PyTree

from .._solve.solve import solve
from .._types import VectorField
from ..adjoints.forward import ForwardMode
from ..solvers.base.solver import AbstractSolver
from .starts import Pairs

Starts = Float[Array | np.ndarray, "starts size"]


class Frozen(eqx.Module):
    """dy/dt = field(t, y, args) from t0 to t1.

    Attributes:
        field: The vector field, for one state.
        args: Passed to the field.
        t0, t1: The interval (static).
    """

    field: VectorField
    args: Any
    t0: float = eqx.field(static=True)
    t1: float = eqx.field(static=True)

    def end(self, solver: AbstractSolver, start: PyTree) -> PyTree:
        """The end of one start with `solver`; NaN if it fails. Differentiable in both modes."""
        options = {"solver": solver, "args": self.args, "adjoint": ForwardMode(), "throw": False}
        return solve(self.field, start, self.t0, self.t1, **options).y1

    def error(self, solver: AbstractSolver, start: PyTree, end: PyTree) -> Float[Array, " size"]:
        """The error at the end of one start, as a vector."""
        return ravel_pytree(self.end(solver, start))[0] - ravel_pytree(end)[0]

    def bounded_error(self, solver: AbstractSolver, start: PyTree, end: PyTree, most: Array) -> Float[Array, " size"]:
        """`error` in a form that no start can dominate: small errors as they are, the size of large ones below `most`.

        A start that a scheme cannot cross has an infinite error, or one of 1e39, and would decide the fit alone.
        """
        error = self.error(solver, start, end)
        square = jnp.mean(error**2)
        return jnp.where(jnp.isfinite(square), error / jnp.sqrt(1 + square / most**2), jnp.full_like(error, most))

    def errors(self, solver: AbstractSolver, pairs: Pairs) -> Starts:
        """The errors of `solver` at the ends, one row for each start."""
        return jax.vmap(lambda start, end: self.error(solver, start, end))(pairs.start, pairs.end)

    def bounded_errors(self, solver: AbstractSolver, pairs: Pairs, most: Array) -> Starts:
        """The same in the form of `bounded_error`."""
        one = lambda start, end: self.bounded_error(solver, start, end, most)
        return jax.vmap(one)(pairs.start, pairs.end)


@eqx.filter_jit
def crossed(frozen: Frozen, solver: AbstractSolver, pairs: Pairs) -> Bool[Array, " starts"]:
    """Which starts `solver` takes to an end that is finite."""
    return jnp.isfinite(frozen.errors(solver, pairs)).all(axis=1)


@eqx.filter_jit
def rmse(frozen: Frozen, solver: AbstractSolver, pairs: Pairs, most: Array) -> Float[Array, ""]:
    """Root mean square of the bounded errors, over starts and components."""
    return jnp.sqrt(jnp.mean(frozen.bounded_errors(solver, pairs, most) ** 2))


@eqx.filter_jit
def ends(frozen: Frozen, solver: AbstractSolver, starts: PyTree) -> PyTree:
    """The ends of all starts with `solver`."""
    return jax.vmap(lambda start: frozen.end(solver, start))(starts)

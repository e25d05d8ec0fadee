"""to_diffrax: kuttax tableaus and learned solvers as diffrax solvers."""

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ...errors import UserError
from ..rk.fixed import AbstractTableSolver, FixedSteps
from ..rk.stages import combine, stages
from ..rk.tableau import Tableau


class TableSolver(diffrax.AbstractSolver):
    """A table of Runge-Kutta coefficients as a diffrax solver; the parameters of a learned one are trainable leaves.

    Row n of the table is for the n-th step: step with `diffrax.StepTo(solver.times(t0, t1))`. A table of one row is for
    every step, of any size; with an embedded pair it works with any of diffrax's step-size controllers.
    """

    source: AbstractTableSolver
    error: Any
    error_order_: int | None = eqx.field(static=True)
    order_: int = eqx.field(static=True)
    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Callable[..., Any]] = diffrax.ThirdOrderHermitePolynomialInterpolation

    def order(self, terms):
        del terms
        return self.order_

    def error_order(self, terms):
        del terms
        return self.error_order_

    def times(self, t0, t1) -> Array:
        """The ends of the steps on t0 -> t1, for `diffrax.StepTo`."""
        dtype = jnp.result_type(float)
        h = self.source.table(dtype).h
        inner = jnp.asarray(t0, dtype) + (jnp.asarray(t1, dtype) - jnp.asarray(t0, dtype)) * jnp.cumsum(h)[:-1]
        return jnp.concatenate([jnp.asarray(t0, dtype)[None], inner, jnp.asarray(t1, dtype)[None]])

    def init(self, terms, t0, t1, y0, args):
        del terms, t0, t1, y0, args
        return jnp.asarray(0)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        del made_jump
        t0, t1 = jnp.asarray(t0), jnp.asarray(t1)
        dtype, h = t0.dtype, t1 - t0
        table = self.source.table(dtype)
        row = solver_state % self.source.steps
        a, b, c = table.a[row], table.b[row], table.c[row]
        forward = terms.contr(t0, t0 + 1)  # -1 if diffrax has reversed time to solve backwards
        f = lambda t, y: terms.vf_prod(t, y, args, forward)
        ks = stages(f, t0, y0, h, a, c, table.a_used)
        y1 = combine(y0, h, b, ks, table.b_used)
        end = f(t1, y1)
        error = None
        if self.error is not None:
            zeros = jax.tree.map(jnp.zeros_like, y0)
            error = combine(zeros, h, jnp.asarray(self.error, dtype), [*ks, end])
        k0, k1 = (jax.tree.map(lambda k: h.astype(k.dtype) * k, slope) for slope in (ks[0], end))
        dense = {"y0": y0, "y1": y1, "k0": k0, "k1": k1}
        return y1, error, dense, solver_state + 1, diffrax.RESULTS.successful

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)


def to_diffrax(scheme: Tableau | AbstractTableSolver) -> TableSolver:
    """A tableau, or the table of `FixedSteps` or `LearnedRK`, as a diffrax solver.

    Raises:
        UserError: `scheme` is neither.
    """
    if isinstance(scheme, Tableau):
        # diffrax's error_order is the power of the step size with which the error estimate shrinks.
        exponent = None if scheme.error_order is None else min(scheme.order, scheme.error_order) + 1
        return TableSolver(FixedSteps(scheme, 1), scheme.error, exponent, scheme.order)
    if isinstance(scheme, AbstractTableSolver) and not scheme.consistent:
        raise UserError("a sampler without an order is no scheme that diffrax could step with: use kx.solve")
    if isinstance(scheme, AbstractTableSolver):
        return TableSolver(scheme, None, None, scheme.order)
    raise UserError(f"to_diffrax takes a Tableau, FixedSteps or LearnedRK, got {type(scheme).__name__}")

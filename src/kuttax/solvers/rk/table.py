"""StepTable: the coefficients of every step of a scheme with a fixed number of evaluations."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._types import State, VectorField
from ..base.grid import GridState
from ..base.memory import remembering
from ..base.problem import Derivative, Unroll
from .rolled import looped_stages
from .stages import combine, scaled, scaled_stages, stages
from .tableau import Tableau


class StepTable(eqx.Module):
    """N rows of coefficients, one for each step. Every fixed-NFE scheme, classical or learned, is such a table.

    Attributes:
        a, b, c: Coefficients of each step, (N, s, s) strictly lower triangular, (N, s) and (N, s).
        h: The fraction of the interval that each step covers, (N,), summing to 1.
        sound: Whether the coefficients are reliable: false if a projection was ill-conditioned.
        a_used, b_used: The structural non-zeros (static): entries marked false are never computed.
        scale: Of a sampler's only step: the factors of its first state in each stage and at the end. None: all one.
        tableau: Of a classical scheme, whose dense output is its own; None for the cubic Hermite polynomial.
        unroll: What a solve writes out in its program (static).
    """

    a: Float[Array, "n s s"]
    b: Float[Array, "n s"]
    c: Float[Array, "n s"]
    h: Float[Array, " n"]
    sound: Array
    a_used: tuple[tuple[bool, ...], ...] = eqx.field(static=True)
    b_used: tuple[bool, ...] = eqx.field(static=True)
    scale: Float[Array, " s+1"] | None = None
    tableau: Tableau | None = eqx.field(static=True, default=None)
    unroll: Unroll = eqx.field(static=True, default="stages")

    def grid(self, t0: Array, t1: Array) -> tuple[Array, Array]:
        """The start times and the sizes of the steps from t0 to t1; (N, *samples) each."""
        before = jnp.cumsum(self.h) - self.h
        if jnp.ndim(t0) == 0:
            return t0 + (t1 - t0) * before, (t1 - t0) * self.h
        start, length = t0[None], (t1 - t0)[None]
        return start + length * before[:, None], length * self.h[:, None]

    def slopes(
        self, f: Callable[[Array, State], State], row: Any, t, y: State, h, k1: State | None = None
    ) -> list[State]:
        """The slopes of the stages of one step of size h from y at t, with the coefficients (a, b, c) of one row."""
        a, _, c = row
        if self.scale is not None:
            return scaled_stages(f, t, y, h, a, c, self.scale)
        each = looped_stages if self.unroll == "none" else stages
        return each(f, t, y, h, a, c, self.a_used, k1)

    def advance(self, f: Callable[[Array, State], State], row: tuple[Array, Array, Array], t, y: State, h) -> State:
        """The state at the end of one step of size h from y at t, with the coefficients (a, b, c) of one row."""
        ks = self.slopes(f, row, t, y, h)
        return combine(y if self.scale is None else scaled(y, self.scale[-1]), h, row[1], ks, self.b_used)

    def cross(
        self, field: VectorField, start: GridState, t0: Array, t1: Array, args, derivative: Derivative
    ) -> GridState:
        """The state at t1, from `start` at t0: one step for each row of the table."""

        def step(at, row):
            a, b, c, t, h = row
            return at.on(self.advance(lambda t, y: field(t, y, args), (a, b, c), t, at.y, h), t, h), None

        if derivative not in ("none", "forward"):
            step = remembering(step, derivative, start.y, in_loop=self.unroll != "all")
        rows = (self.a, self.b, self.c, *self.grid(t0, t1))
        if self.unroll != "all":
            return jax.lax.scan(step, start, rows)[0]
        for n in range(len(self.h)):
            start, _ = step(start, jax.tree.map(lambda x, n=n: x[n], rows))
        return start

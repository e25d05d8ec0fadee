"""The coupled scheme of a reversible solve: two states, whose steps can be undone."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._types import State, VectorField
from .stages import combine
from .table import StepTable


class Pair(NamedTuple):
    """The two states that a reversible solve carries."""

    y: State
    z: State


class StepRow(NamedTuple):
    """One step: the coefficients of the base scheme, start time and size; all steps with a leading axis."""

    a: Any
    b: Any
    c: Any
    t: Any
    h: Any


class Coupled(eqx.Module):
    """The coupled scheme over the table of a base scheme (see `Reversible`).

    Attributes:
        table: The coefficients and step sizes of the base scheme.
        coupling: lambda, a scalar of the dtype of time.
    """

    table: StepTable
    coupling: Array

    def rows(self, t0: Array, t1: Array) -> StepRow:
        """The steps from t0 to t1."""
        return StepRow(self.table.a, self.table.b, self.table.c, *self.table.grid(t0, t1))

    def weight(self, row: StepRow) -> Array:
        """lambda; one for a step of size zero, so that it changes nothing."""
        return jnp.where(row.h == 0, jnp.ones_like(self.coupling), self.coupling)

    def ahead(self, f: Callable[[Any, State], State], row: StepRow, z: State) -> State:
        """Psi_h(t_n, z_n)."""
        return self._increment(f, row, row.t, row.h, z)

    def behind(self, f: Callable[[Any, State], State], row: StepRow, y: State) -> State:
        """Psi_{-h}(t_{n+1}, y_{n+1})."""
        return self._increment(f, row, row.t + row.h, -row.h, y)

    def _increment(self, f, row: StepRow, t: Array, h: Array, y: State) -> State:
        ks = self.table.slopes(f, (row.a, row.b, row.c), t, y, h)
        return combine(jax.tree.map(jnp.zeros_like, y), h, row.b, ks, self.table.b_used)

    def cross(self, field: VectorField, pair: Pair, t0: Array, t1: Array, args) -> Pair:
        """The pair at t1, from the pair at t0."""
        f = lambda t, y: field(t, y, args)

        def step(pair, row):
            weight = self.weight(row)
            mix = lambda y, z, ahead: z + weight * (y - z) + ahead
            y = jax.tree.map(mix, pair.y, pair.z, self.ahead(f, row, pair.z))
            return Pair(y, jax.tree.map(jnp.subtract, pair.z, self.behind(f, row, y))), None

        return jax.lax.scan(step, pair, self.rows(t0, t1))[0]

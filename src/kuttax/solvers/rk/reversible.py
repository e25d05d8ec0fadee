"""Reversible: any fixed-step scheme, made algebraically reversible."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._types import State, VectorField
from ...errors import UserError
from ..base.solution import Solution
from ..base.solver import AbstractSolver, Derivative, Problem, title
from .adaptive import number
from .fixed import AbstractTableSolver, Table, solution_of, through_times
from .stages import combine, stages


class Pair(NamedTuple):
    """The two states that a reversible solve carries."""

    y: State
    z: State


class Row(NamedTuple):
    """One step: the coefficients of the base scheme, when it starts, and its size; all steps with a leading axis."""

    a: Any
    b: Any
    c: Any
    t: Any
    h: Any


class Coupled(eqx.Module):
    """The coupled scheme over the table of a base scheme.

    Attributes:
        table: The coefficients and step sizes of the base scheme.
        coupling: lambda, a scalar of the dtype of time.
    """

    table: Table
    coupling: Array

    def rows(self, t0: Array, t1: Array) -> Row:
        """The steps from t0 to t1."""
        return Row(self.table.a, self.table.b, self.table.c, *self.table.grid(t0, t1))

    def weight(self, row: Row) -> Array:
        """lambda; one in a step of size zero, which then changes nothing."""
        return jnp.where(row.h == 0, jnp.ones_like(self.coupling), self.coupling)

    def ahead(self, f: Callable[[Any, State], State], row: Row, z: State) -> State:
        """Psi_h(t_n, z_n)."""
        return self._increment(f, row, row.t, row.h, z)

    def behind(self, f: Callable[[Any, State], State], row: Row, y: State) -> State:
        """Psi_{-h}(t_{n+1}, y_{n+1})."""
        return self._increment(f, row, row.t + row.h, -row.h, y)

    def _increment(self, f, row: Row, t: Array, h: Array, y: State) -> State:
        ks = stages(f, t, y, h, row.a, row.c, self.table.a_used)
        return combine(jax.tree.map(jnp.zeros_like, y), h, row.b, ks, self.table.b_used)

    def cross(self, field: VectorField, pair: Pair, t0: Array, t1: Array, args) -> Pair:
        """The pair at t1, from that at t0."""
        f = lambda t, y: field(t, y, args)

        def step(pair, row):
            weight = self.weight(row)
            mix = lambda y, z, ahead: z + weight * (y - z) + ahead
            y = jax.tree.map(mix, pair.y, pair.z, self.ahead(f, row, pair.z))
            return Pair(y, jax.tree.map(jnp.subtract, pair.z, self.behind(f, row, y))), None

        return jax.lax.scan(step, pair, self.rows(t0, t1))[0]


class Reversible(AbstractSolver):
    """A fixed-step scheme whose steps can be undone, so that its exact gradient needs no stored states.

    McCallum & Foster (2024, arXiv 2410.11648). With Psi_h(t, y) the increment of one step of the base scheme and the
    coupling 0 < lambda <= 1, two states start at y_0 = z_0 and go

        y_{n+1} = lambda y_n + (1 - lambda) z_n + Psi_h(t_n, z_n),
        z_{n+1} = z_n - Psi_{-h}(t_{n+1}, y_{n+1}).

    The solution is y, of the order of the base scheme, at twice its evaluations: 2 s a step. Backwards,

        z_n = z_{n+1} + Psi_{-h}(t_{n+1}, y_{n+1}),
        y_n = z_n + (y_{n+1} - z_n - Psi_h(t_n, z_n)) / lambda,

    so that a reverse pass takes 2 s evaluations, each with its product, a step, and the memory of a few states. The
    pair goes on through the times of `ts`. Two things limit the coupling:

    - Undoing N steps (of all intervals together) amplifies rounding by lambda^-N. The default, 0.999, makes that 2.7
      over 1,000 steps, where float32 gradients were as good as those of a plain scan (1e-6 to 5e-6 of the largest
      entry); at 0.99 they had lost two to four digits more, at 0.9 all.
    - Where the field contracts at a rate a, y - z grows by lambda exp(a |h|) a step, in the forward solve too. That is
      harmless while a |t1 - t0| is of order one; over longer times take lambda = exp(-a |h|) or below.

    Attributes:
        solver: The base scheme, `FixedSteps` or `LearnedRK`; `steps` counts as it does there.
        coupling: lambda; it carries no gradient.

    Raises:
        UserError: The solver is not one of fixed steps, or the coupling is out of its range.
    """

    solver: AbstractTableSolver
    coupling: Any = eqx.field(converter=number("coupling", most=1.0), default=0.999)

    def __check_init__(self):
        if not isinstance(self.solver, AbstractTableSolver):
            raise UserError(
                f"Reversible wraps FixedSteps or LearnedRK, got {type(self.solver).__name__}: "
                "give it a solver with a fixed number of steps"
            )

    @property
    def steps(self) -> int:
        """The number of steps on one interval."""
        return self.solver.steps

    @property
    def stages(self) -> int:
        """Evaluations of the field in one step."""
        return 2 * self.solver.stages

    @property
    def nfe(self) -> int:
        """Evaluations of the field on one interval."""
        return self.stages * self.steps

    def coupled(self, table: Table) -> Coupled:
        """The scheme over the base scheme's `table`, with a coupling that is constant under differentiation."""
        return Coupled(table, jax.lax.stop_gradient(jnp.asarray(self.coupling, table.h.dtype)))

    def check(self, problem: Problem) -> None:
        self.solver.check(problem)

    def run(self, problem: Problem, derivative: Derivative) -> Solution:
        del derivative  # a scan of plain operations can be differentiated in every mode
        return self.march(problem, self.solver.table(problem.t0.dtype))[0]

    def march(self, problem: Problem, table: Table) -> tuple[Solution, Pair]:
        """The solution over the `table` of the base scheme, and the pair at its end."""
        coupled, field = self.coupled(table), problem.vector_field()
        cross = lambda pair, t0, t1: coupled.cross(field, pair, t0, t1, problem.args)
        end, ys, intervals = through_times(cross, Pair(problem.y0, problem.y0), problem)
        return solution_of(problem, table.sound, end.y, ys, intervals * self.nfe, intervals * self.steps), end

    def __str__(self) -> str:
        return f"Reversible({title(self.solver)}, coupling={self.coupling})"

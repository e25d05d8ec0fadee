"""FixedSteps: equal steps of a classical tableau, run as one scan over a table of coefficients."""

import dataclasses
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..._types import State
from ...kinds import checked_count
from ..base.grid import AbstractGridSolver, GridState, solution_of, through_times
from ..base.pick import Picked, Recorded
from ..base.problem import Derivative, Problem
from ..base.registry import register_solver
from ..base.solution import Solution
from ..base.solver import Feature, Refined, Scale
from .observed import cross_observed, dense_output
from .table import StepTable
from .tableau import Tableau, checked_tableau


class AbstractTableSolver(AbstractGridSolver):
    """A solver that runs a `StepTable`: fixed numbers of steps and evaluations, and no custom derivative."""

    @property
    @abstractmethod
    def stages(self) -> int:
        """Evaluations of the field in one step."""

    @property
    @abstractmethod
    def order(self) -> int:
        """The order of the scheme."""

    @abstractmethod
    def table(self, dtype) -> StepTable:
        """The coefficients of every step, in `dtype`."""

    def exact_dtype(self) -> Any:
        """The dtype in which its coefficients are exact."""
        return np.dtype(np.float64)

    def meant_for(self) -> tuple[float, float] | None:
        """The interval that it was fitted to; None for any."""
        return None

    @property
    def nfe(self) -> int:
        """Evaluations of the field on one interval."""
        return self.stages * self.steps

    def convergence_order(self) -> float:
        return self.order

    def evaluations_per_interval(self) -> int:
        return self.nfe

    def takes(self) -> frozenset[Feature]:
        return frozenset(("own times", "jumps", "events", "dense"))

    def own_step(self, f: Callable[[Any, State], State], start: Picked) -> tuple[State, Any]:
        t, y, h = start.t, start.y, start.h
        table = self.table(h.dtype)
        n = start.step % self.steps  # every interval between outputs uses all rows
        share = table.h[n]
        h = h * (share / jax.lax.stop_gradient(share))  # the same value, with the derivative of the learned share
        return table.advance(f, (table.a[n], table.b[n], table.c[n]), t, y, h), h

    def run(self, problem: Problem, derivative: Derivative) -> Solution:
        table, observed = self.table(problem.t0.dtype), problem.dense or bool(problem.events)
        table = dataclasses.replace(table, unroll=problem.unrolled(self.steps, self.stages))

        def cross(at, t0, t1):
            if observed:
                return cross_observed(table, problem, at, t0, t1, derivative)
            return table.cross(problem.vector_field(t0), at, t0, t1, problem.args, derivative), None

        start = GridState.begin(problem, lambda t0, t1: table.grid(t0, t1)[0])
        end, ys, intervals, pieces = through_times(cross, start, problem)
        nfe = intervals * (self.nfe + 1 if observed else self.nfe)
        sol = solution_of(problem, table.sound, end.y, ys, nfe, intervals * self.steps)
        dense = dense_output(pieces, problem, end.event) if problem.dense else None
        return dataclasses.replace(sol, recorded=Recorded((), end.picked), event=end.event, dense=dense)


@register_solver({"steps": int, "tableau": Tableau.DATA})
class FixedSteps(AbstractTableSolver):
    """A classical tableau with `steps` equal steps.

    Where `ts` is given to `solve`, `steps` counts per interval of t0, *ts, t1.

    Raises:
        UserError: `tableau` is no tableau, or `steps` is not a whole number of at least 1.
    """

    tableau: Tableau = eqx.field(static=True)
    steps: int = eqx.field(static=True)

    def __init__(self, tableau: Tableau, steps: int):
        self.tableau = checked_tableau(tableau)
        self.steps = checked_count("steps", steps)

    @property
    def stages(self) -> int:
        return self.tableau.stages

    @property
    def order(self) -> int:
        return self.tableau.order

    def with_steps(self, steps: int) -> "FixedSteps":
        return FixedSteps(self.tableau, steps)

    def refined(self, times: int, dtype: Any) -> Refined:
        del dtype
        return Refined(FixedSteps(self.tableau, times * self.steps))

    def classical_tableau(self) -> Tableau:
        return self.tableau

    def scale(self) -> Scale:
        return Scale(None if self.tableau.error is None else self.tableau)

    def to_data(self) -> dict[str, Any]:
        return {"steps": self.steps, "tableau": self.tableau.to_data()}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "FixedSteps":
        return cls(Tableau.from_data(data["tableau"]), data["steps"])

    def check(self, problem: Problem) -> None:
        del problem  # a classical tableau works on any interval

    def table(self, dtype) -> StepTable:
        repeat = [(self.steps, *x.shape) for x in (self.tableau.a, self.tableau.b, self.tableau.c)]
        a, b, c = (
            jnp.broadcast_to(jnp.asarray(x, dtype), shape)
            for x, shape in zip((self.tableau.a, self.tableau.b, self.tableau.c), repeat, strict=True)
        )
        h = jnp.full(self.steps, 1 / self.steps, dtype)
        used = tuple(bool(x) for x in self.tableau.b != 0)
        return StepTable(a, b, c, h, jnp.asarray(True), self.tableau.sparsity, used, tableau=self.tableau)

    def __str__(self) -> str:
        return f"FixedSteps({self.tableau.name}, steps={self.steps})"

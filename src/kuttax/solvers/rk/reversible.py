"""Reversible: any fixed-step scheme, made algebraically reversible."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ...errors import UserError
from ..base.grid import solution_of, through_times
from ..base.numbers import number, said
from ..base.problem import Derivative, Problem
from ..base.registry import from_json, register_solver, to_json
from ..base.solution import Solution
from ..base.solver import AbstractSolver, Refined, title
from .coupled import Coupled, Pair
from .fixed import AbstractTableSolver
from .table import StepTable
from .undo import solve_reversible


@register_solver({"coupling": float, "solver": {"kind": str}})
class Reversible(AbstractSolver):
    """A fixed-step scheme whose steps can be undone, so that its exact gradient needs no stored states.

    McCallum & Foster (2024, arXiv 2410.11648). The increment of one step of the base scheme is Psi_h(t, y); the
    coupling is 0 < lambda <= 1. Two states start at y_0 = z_0 and follow

        y_{n+1} = lambda y_n + (1 - lambda) z_n + Psi_h(t_n, z_n),
        z_{n+1} = z_n - Psi_{-h}(t_{n+1}, y_{n+1}).

    The solution is y. It has the order of the base scheme, at twice its evaluations: 2 s a step. Backwards,

        z_n = z_{n+1} + Psi_{-h}(t_{n+1}, y_{n+1}),
        y_n = z_n + (y_{n+1} - z_n - Psi_h(t_n, z_n)) / lambda,

    so a reverse pass takes 2 s evaluations a step, each with one vector-Jacobian product, and the memory of a few
    states. The pair continues through the times of `ts`. Two things limit the coupling:

    - Undoing N steps (of all intervals together) amplifies rounding by lambda^-N. The default, 0.999, makes that 2.7
      over 1,000 steps. There float32 gradients were as good as those of a plain scan (1e-6 to 5e-6 of the largest
      entry); at 0.99 they lost two to four digits more, at 0.9 all.
    - If the field contracts at a rate a, y - z grows by lambda exp(a |h|) a step, in the forward solve too. That is
      harmless while a |t1 - t0| is of order one; over longer times choose lambda = exp(-a |h|) or smaller.

    Attributes:
        solver: The base scheme, `FixedSteps` or `LearnedRK`; `steps` has the same meaning as there.
        coupling: lambda; it carries no gradient.

    Raises:
        UserError: The solver is not a fixed-step one, or the coupling is out of its range.
    """

    solver: AbstractTableSolver
    coupling: Any = eqx.field(converter=number("coupling", most=1.0), default=0.999)

    def __check_init__(self):
        if not isinstance(self.solver, AbstractTableSolver):
            raise UserError(
                f"Reversible wraps FixedSteps or LearnedRK, got {type(self.solver).__name__}: "
                "give it a solver with a fixed number of steps"
            )
        if not self.solver.consistent:
            raise UserError("Reversible cannot step back with a sampler, which has no order: give it another solver")

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

    def coupled(self, table: StepTable) -> Coupled:
        """The coupled scheme over the base scheme's `table`; its coupling has no derivative."""
        return Coupled(table, jax.lax.stop_gradient(jnp.asarray(self.coupling, table.h.dtype)))

    def check(self, problem: Problem) -> None:
        self.solver.check(problem)

    def run(self, problem: Problem, derivative: Derivative) -> Solution:
        if derivative in ("none", "forward"):  # a scan of plain operations
            return self.forward(problem, self.solver.table(problem.t0.dtype))[0]
        return solve_reversible(self, problem)

    def number_of_steps(self) -> int:
        return self.steps

    def with_steps(self, steps: int) -> "Reversible":
        return dataclasses.replace(self, solver=self.solver.with_steps(steps))

    def refined(self, times: int, dtype: Any) -> Refined:
        return Refined(dataclasses.replace(self, solver=self.solver.refined(times, dtype).solver))

    def convergence_order(self) -> float | None:
        return self.solver.convergence_order()

    def evaluations_per_interval(self) -> int:
        return self.nfe

    def for_interval(self, t0: float, t1: float) -> "Reversible":
        return dataclasses.replace(self, solver=self.solver.for_interval(t0, t1))

    def to_data(self) -> dict[str, Any]:
        return {"coupling": float(self.coupling), "solver": to_json(self.solver)}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "Reversible":
        if data["solver"]["kind"] == cls.__name__:
            raise ValueError("a Reversible inside of another")
        inner: Any = from_json(data["solver"])
        return cls(inner, data["coupling"])

    def forward(self, problem: Problem, table: StepTable) -> tuple[Solution, Pair]:
        """The solution with the `table` of the base scheme, and the pair at its end."""
        coupled, field = self.coupled(table), problem.vector_field()
        cross = lambda pair, t0, t1: (coupled.cross(field, pair, t0, t1, problem.args), None)
        end, ys, intervals, _ = through_times(cross, Pair(problem.y0, problem.y0), problem)
        return solution_of(problem, table.sound, end.y, ys, intervals * self.nfe, intervals * self.steps), end

    def __str__(self) -> str:
        return f"Reversible({title(self.solver)}, coupling={said(self.coupling)})"

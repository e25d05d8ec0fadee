"""DiscreteAdjoint: the exact derivative of the discrete solution."""

from typing import get_args

import equinox as eqx

from ..errors import UserError
from ..solvers.base.memory import Memory
from ..solvers.base.problem import Problem
from ..solvers.base.solution import Solution
from ..solvers.base.solver import AbstractSolver
from .base import AbstractAdjoint


class DiscreteAdjoint(AbstractAdjoint):
    """Reverse mode, exact for the discrete solution ("discretise, then optimise").

    A fixed-step solve is a plain scan, which JAX differentiates. An adaptive solve keeps its accepted steps on a tape.
    The reverse pass goes from the last step to the first, recomputes each, and pulls the cotangent back through it. The
    nodes between t0 and t1 count as constants; t0, t1 and ts have gradients. A `Reversible` solve stores no steps.

    Attributes:
        memory: What a fixed-step solve stores for its reverse pass. None: "stages" if the program has all steps written
            out (`unroll` in `kx.solve`), else "products". "steps": the state at each step; the reverse pass
            recomputes the stages, at one more evaluation of the field for every stage. "products": also those matrix
            products and convolutions inside the field that are at most a quarter of the state's size. "stages": all
            intermediate values of every stage's evaluation; on CPUs the memory costs more time than it saves
            (docs/performance.md). An adaptive solve always stores steps.

    Raises:
        UserError: `memory` is unknown, or is "stages" for an adaptive solve.
    """

    memory: Memory | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if self.memory is not None and self.memory not in get_args(Memory):
            raise UserError(f"memory must be 'stages', 'products' or 'steps', got {self.memory!r}")

    def run(self, solver: AbstractSolver, problem: Problem) -> Solution:
        return solver.run(problem, self.memory or "default")

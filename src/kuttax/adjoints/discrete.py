"""DiscreteAdjoint: the exact derivative of the discrete solution."""

from typing import get_args

import equinox as eqx

from ..errors import UserError
from ..solvers.base.memory import Memory
from ..solvers.base.solution import Solution
from ..solvers.base.solver import AbstractSolver, Problem
from .base import AbstractAdjoint


class DiscreteAdjoint(AbstractAdjoint):
    """Reverse mode, exact for the numbers that the forward solve computed ("discretise, then optimise").

    A fixed-step solve is a plain scan, which JAX differentiates. An adaptive one keeps its accepted steps on a tape;
    the reverse pass takes them from the last to the first, recomputes each and pulls the cotangent through it. There
    the nodes between t0 and t1 count as constants; t0, t1 and ts carry gradients. A `Reversible` solve keeps nothing.

    Attributes:
        memory: What a fixed-step solve keeps for its reverse pass. "steps": the state at each step; stages are computed
            again, one evaluation of the field more for every stage. "products": also those matrix products and
            convolutions inside the field that are at most a quarter of the state's size. "stages": all that its
            evaluations need, for every stage; on CPUs the memory costs more time than it saves (docs/performance.md).
            An adaptive solve always keeps steps.

    Raises:
        UserError: `memory` is unknown, or is "stages" for an adaptive solve.
    """

    memory: Memory = eqx.field(static=True, default="products")

    def __check_init__(self):
        if self.memory not in get_args(Memory):
            raise UserError(f"memory must be 'stages', 'products' or 'steps', got {self.memory!r}")

    def run(self, solver: AbstractSolver, problem: Problem) -> Solution:
        return solver.run(problem, self.memory)

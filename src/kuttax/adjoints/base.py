"""AbstractAdjoint: how a solve is differentiated."""

from abc import abstractmethod

import equinox as eqx

from ..solvers.base.problem import Problem
from ..solvers.base.solution import Solution
from ..solvers.base.solver import AbstractSolver


class AbstractAdjoint(eqx.Module):
    """Runs a solver on a problem so that the result has this adjoint's derivative."""

    @abstractmethod
    def run(self, solver: AbstractSolver, problem: Problem) -> Solution:
        """The solution, differentiable in y0, t0, t1, ts, args and all that the field closes over."""

"""ForwardMode: JAX's own differentiation rules, in forward and reverse mode."""

from ..solvers.base.problem import Problem
from ..solvers.base.solution import Solution
from ..solvers.base.solver import AbstractSolver
from .base import AbstractAdjoint


class ForwardMode(AbstractAdjoint):
    """Differentiate with `jax.jvp`, `jax.jacfwd` or `jax.hessian`: plain operations, no custom rule.

    The step sizes of an adaptive solve count as constants, as in `DiscreteAdjoint`, so the two agree. An adaptive solve
    becomes a scan over `max_steps`: set `max_steps` close to the number needed. Reverse mode works, with the memory of
    that scan. A rejected attempt that overflows can make a reverse pass NaN; `DiscreteAdjoint` does not have this
    problem.
    """

    def run(self, solver: AbstractSolver, problem: Problem) -> Solution:
        return solver.run(problem, "forward")

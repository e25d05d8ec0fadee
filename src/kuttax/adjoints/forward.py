"""ForwardMode: JAX's own rules, in forward mode or in both."""

from ..solvers.base.solution import Solution
from ..solvers.base.solver import AbstractSolver, Problem
from .base import AbstractAdjoint


class ForwardMode(AbstractAdjoint):
    """Differentiate with `jax.jvp`, `jax.jacfwd` or `jax.hessian`: plain operations, no custom rule.

    The step sizes of an adaptive solve count as constants, as in `DiscreteAdjoint`, and the two agree. An adaptive
    solve becomes a scan over `max_steps`, so give it one near what is needed. Reverse mode works, at the memory of that
    scan; an attempt that overflows and is rejected can make a reverse pass NaN, which `DiscreteAdjoint` cannot.
    """

    def run(self, solver: AbstractSolver, problem: Problem) -> Solution:
        return solver.run(problem, "forward")

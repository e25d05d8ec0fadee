"""Global penalties: sums of the solver's cost estimates over its steps (Pal et al., ICML 2021)."""

from abc import abstractmethod
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from .._types import Time
from ..errors import UserError
from ..solvers.base.problem import Problem
from ..solvers.base.solver import AbstractSolver
from ..solvers.rk.step import EstimatedStep, Step, stiffness_pair
from ..solvers.sde.sde import SDE
from .base import AbstractPenalty, Observation, Request


class AbstractGlobal(AbstractPenalty):
    """The sum over the accepted steps j of c_j |h_j|; the mean over samples if each has its own steps.

    The nodes between t0 and t1 count as constants, as in all derivatives of an adaptive solve. It needs no second
    solve. Its gradient goes through the solver's steps: use `DiscreteAdjoint` or `ForwardMode`.
    """

    @abstractmethod
    def charge(self, step: Step | EstimatedStep) -> Time:
        """c_j of one step."""

    def request(self, problem: Problem, solver: AbstractSolver, key: Any) -> Request:
        del key
        own = type(self).__name__
        local = own.replace("Global", "Local")
        if isinstance(problem.field, SDE):
            if "costs" not in solver.observable(sde=True):
                by = "FromDiffrax with tolerances"
                raise UserError(f"{own} of an SDE is made of an adaptive solver's steps: use {by}, or {local}")
            return Request(cost=self.cost, otherwise=local)
        if "costs" not in solver.observable():
            raise UserError(f"{own} is made of Adaptive's steps, got {type(solver).__name__}: use {local}")
        self.check(solver)
        return Request(cost=self.cost, otherwise=local)

    def cost(self, step: Step | EstimatedStep) -> Time:
        """c_j |h_j|."""
        return self.charge(step) * jnp.abs(step.h)

    @abstractmethod
    def check(self, solver: AbstractSolver) -> None:
        """Refuse an embedded pair that has no such cost."""

    def value(self, seen: Observation) -> Array:
        assert seen.cost is not None
        return jnp.mean(seen.cost)


class GlobalError(AbstractGlobal):
    """R_E = sum_j E_j |h_j|, E_j the scaled error estimate of step j ("ERNODE"; Pal et al. 2021, eq. 9).

    For an SDE ("ERNSDE") with diffrax's adaptive solvers, E_j is the error that their step size control uses.
    """

    of_sdes: ClassVar[bool] = True

    def charge(self, step: Step | EstimatedStep) -> Time:
        return step.error()

    def check(self, solver: AbstractSolver) -> None:
        del solver


class GlobalStiffness(AbstractGlobal):
    """R_S = sum_j S_j |h_j|, S_j the stiffness estimate of step j ("SRNODE"; Pal et al. 2021, eq. 11)."""

    def charge(self, step: Step | EstimatedStep) -> Time:
        assert isinstance(step, Step)
        return step.stiffness()

    def check(self, solver: AbstractSolver) -> None:
        refuse_without_stiffness(solver.scale().tableau)


def refuse_without_stiffness(tableau) -> None:
    """Refuse a tableau that cannot estimate stiffness.

    Raises:
        UserError: No two of its stages are at the same time.
    """
    if stiffness_pair(tableau) is None:
        raise UserError(f"{tableau.name} has no two stages at one time to estimate stiffness with: use TSIT5 or DOPRI5")

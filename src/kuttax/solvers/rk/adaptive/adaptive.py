"""Adaptive: an embedded pair with step-size control, joint or per sample."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from ...._types import State, Time
from ....errors import UserError
from ...base.numbers import TIGHTER, number, refuse_low_rtol, said, scaled_tolerances, tightened
from ...base.pick import Picked
from ...base.problem import Derivative, Problem
from ...base.registry import register_solver
from ...base.solution import Solution, Stats
from ...base.solver import AbstractSolver, Feature, Observable, Refined, Scale
from ...base.times.coarse import depends
from ..controller import Controller, rms
from ..step import Step, step_without_end
from ..tableau import Tableau, checked_tableau
from .march import AdaptiveState, march
from .replay import solve_replayed

_NUMBERS = ("rtol", "atol", "pcoeff", "icoeff", "safety", "factor_min", "factor_max", "first_step")


@register_solver({"control": str, "rtol": float, "atol": float, "tableau": Tableau.DATA})
class Adaptive(AbstractSolver):
    """An explicit embedded Runge-Kutta pair whose steps keep the estimated local error below the tolerance.

    Every attempted step costs as many evaluations as the tableau has stages: the slope at the end of an accepted step
    is the first slope of the next.

    Attributes:
        tableau: An embedded pair; its own dense output gives the states at `ts`.
        rtol, atol: Relative and absolute tolerance of one step's error.
        control: "joint": one step size for the whole state. "per_sample": each sample of the batch axis has its own.
        pcoeff, icoeff: Coefficients of the PI controller (see `Controller`).
        safety: Use this fraction of the step size that the error estimate allows.
        factor_min, factor_max: Limits of the change from one step to the next.
        first_step: Size of the first step, without sign; None for Hairer's heuristic, which costs one more evaluation.
        max_step: The largest step, without sign; None for no limit. The error estimate sees nothing between the stages.
            Give a limit if the field has features that are short beside the time in which the solution changes, such as
            a pulse of its input.

    Raises:
        UserError: The tableau has no embedded pair, a number is out of its range, or `control` is unknown.
    """

    tableau: Tableau = eqx.field(static=True)
    rtol: Any = eqx.field(converter=number("rtol"), default=1e-5)
    atol: Any = eqx.field(converter=number("atol", 0.0), default=1e-5)
    control: Literal["joint", "per_sample"] = eqx.field(static=True, default="joint", kw_only=True)
    pcoeff: Any = eqx.field(converter=number("pcoeff", 0.0), default=0.2, kw_only=True)
    icoeff: Any = eqx.field(converter=number("icoeff"), default=0.65, kw_only=True)
    safety: Any = eqx.field(converter=number("safety", most=1.0), default=0.9, kw_only=True)
    factor_min: Any = eqx.field(converter=number("factor_min", most=0.99), default=0.2, kw_only=True)
    factor_max: Any = eqx.field(converter=number("factor_max", 1.0), default=10.0, kw_only=True)
    first_step: Any = eqx.field(converter=number("first_step", optional=True), default=None, kw_only=True)
    max_step: Any = eqx.field(converter=number("max_step", optional=True, each=True), default=None, kw_only=True)

    def __check_init__(self):
        if checked_tableau(self.tableau).error is None:
            raise UserError(
                f"{self.tableau.name} has no embedded pair to control steps with: use FixedSteps, or a pair like DOPRI5"
            )
        if self.control not in ("joint", "per_sample"):
            raise UserError(f"control must be 'joint' or 'per_sample', got {self.control!r}")

    def controller(self, dtype) -> Controller:
        """The `Controller` in `dtype`, constant under differentiation."""
        numbers = (self.rtol, self.atol, self.pcoeff, self.icoeff, self.safety, self.factor_min, self.factor_max)
        return Controller(*(jax.lax.stop_gradient(jnp.asarray(x, dtype)) for x in numbers))

    @property
    def error_exponent(self) -> int:
        """k: the error estimate of one step shrinks as h^k."""
        order = self.tableau.error_order
        assert order is not None
        return min(self.tableau.order, order) + 1

    def check(self, problem: Problem) -> None:
        if self.control == "per_sample" and not problem.batched:
            raise UserError("control='per_sample' needs batch_axis: say which axis of y0 counts the samples")
        own = "jumps" if problem.jumps is not None and problem.jumps.ndim == 2 else "t0 or t1"
        if self.control == "joint" and (own == "jumps" or jnp.ndim(problem.t0)):
            raise UserError(
                f"each sample has its own {own}, and control='joint' takes the same steps for all: "
                "use control='per_sample'"
            )
        if self.control == "joint" and problem.batched and problem.events:
            raise UserError(
                "an event ends each sample at its own time, and control='joint' takes the same steps for all: "
                "use control='per_sample', or leave batch_axis out for one event of the whole state"
            )
        refuse_low_rtol(self.rtol, problem.precision)

    def run(self, problem: Problem, derivative: Derivative) -> Solution:
        if derivative == "stages":
            raise UserError("memory='stages' is for fixed steps: an adaptive solve keeps its steps, leave memory out")
        if derivative not in ("none", "forward"):
            return solve_replayed(self, problem)
        final = march(self, problem, taped=False, bounded=derivative == "forward")
        return final.solution(self.stats(final, problem), problem)

    def takes(self) -> frozenset[Feature]:
        return frozenset(("own times", "jumps", "events", "dense"))

    @property
    def chooses_steps(self) -> bool:
        return True

    def tolerance(self) -> float:
        return float(self.rtol)

    def with_tolerance(self, rtol: float) -> "Adaptive":
        return dataclasses.replace(self, **scaled_tolerances(self.rtol, self.atol, rtol))

    def refined(self, times: int, dtype: Any) -> Refined:
        return self.tightened(TIGHTER[times], dtype)

    def tightened(self, factor: float, dtype: Any) -> Refined:
        return tightened(self, factor, dtype)

    def convergence_order(self) -> float:
        return self.tableau.order

    def with_joint_steps(self) -> "Adaptive":
        return dataclasses.replace(self, control="joint")

    def with_own_steps(self) -> "Adaptive":
        return dataclasses.replace(self, control="per_sample")

    def observable(self, *, sde: bool = False) -> frozenset[Observable]:
        del sde
        return frozenset(("times", "steps", "costs"))

    def scale(self) -> Scale:
        return Scale(self.tableau, self.rtol, self.atol, self.control == "per_sample")

    def own_step(self, f: Callable[[Any, State], State], start: Picked) -> tuple[State, Any]:
        return step_without_end(self.tableau, f, start.t, start.y, start.h)[0], start.h

    def to_data(self) -> dict[str, Any]:
        numbers = {name: None if (x := getattr(self, name)) is None else float(x) for name in _NUMBERS}
        return {"control": self.control, **numbers, "tableau": self.tableau.to_data()}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "Adaptive":
        numbers = {name: data[name] for name in _NUMBERS}
        return cls(Tableau.from_data(data["tableau"]), control=data["control"], **numbers)

    def norm(self, problem: Problem) -> Callable[[State], Time]:
        """The root mean square of the measured part of a state, or of each sample."""
        return lambda state: rms(problem.measured(state), self.control == "per_sample")

    def stats(self, final: AdaptiveState, problem: Problem) -> Stats:
        """Exact counts: two evaluations at the start (one without Hairer's heuristic), s an attempt, one after a jump.

        A reverse pass takes s products a step. It takes one more at the end if there are states inside of steps to
        interpolate, or costs that depend on the slope there.
        """
        start, s = 2 if self.first_step is None else 1, self.tableau.stages
        nfe = start + s * (final.accepted + final.rejected)
        nfe = nfe if final.jumps is None else nfe + final.jumps  # the slope after a jump
        inside = any(pick.moves and pick.at is not None for pick in problem.picks)
        ends = final.ys is not None or inside or problem.dense or bool(problem.events) or self.costs_see_end(problem)
        backward = (s + 1 if ends else s) * final.accepted
        return Stats(nfe, final.accepted, final.rejected, backward)

    def costs_see_end(self, problem: Problem) -> bool:
        """Whether a cost of the steps depends on the slope at their end."""
        lanes = (problem.samples,) if self.control == "per_sample" else ()
        t = jnp.broadcast_to(problem.t0, lanes)
        zero = jax.tree.map(jnp.zeros_like, problem.y0)

        def costs(end: State) -> list[Time]:
            ks = [*[zero] * self.tableau.stages, end]
            step = Step(self.tableau, self.controller(t.dtype), t, t, zero, zero, ks, self.norm(problem))
            return [cost(step) for cost in problem.costs]

        return bool(problem.costs) and depends(costs, zero)

    def __str__(self) -> str:
        control = "" if self.control == "joint" else ", per sample"
        first = "" if self.first_step is None else f", first_step={said(self.first_step)}"
        most = "" if self.max_step is None else f", max_step={said(self.max_step)}"
        return f"Adaptive({self.tableau.name}, rtol={said(self.rtol)}, atol={said(self.atol)}{first}{most}{control})"

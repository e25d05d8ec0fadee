"""Consistency: compares the solver's own step with a finer one, so that the model stays an ODE (Ott et al., 2021)."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._types import State, Time
from ..errors import UserError
from ..kinds import checked_count
from ..solvers.base.closure import converted
from ..solvers.base.numbers import number
from ..solvers.base.pick import Pick
from ..solvers.base.problem import Problem
from ..solvers.base.solver import AbstractSolver
from ..solvers.rk.adaptive.adaptive import Adaptive
from ..solvers.rk.step import step_without_end
from ..solvers.rk.tableaus import DOPRI5, Tableau
from .base import AbstractPenalty, Observation, Request, needs_key
from .local import Transform, check_known, refuse_without_steps, transformed

ThroughStep = Literal["step", "state"]
Moves = Literal["both", "field", "solver"]


class Consistency(AbstractPenalty):
    """The difference between one of the solver's own steps, drawn uniformly, and a finer solution over the same h.

    A field that is trained with a coarse solver may use that solver's errors as a feature: the model is then no ODE,
    and other solvers give other predictions (Ott et al., ICLR 2021, arXiv 2007.15386). The same holds for a solver that
    is trained with the field (cf. Ouala et al., TPAMI 2025, doi 10.1109/tpami.2025.3599629). With y the state at the
    start of the step, y_own at its end, and y_ref after `substeps` steps of `reference`,

        E = RMS[(y_own - y_ref) / (atol + rtol max(|y|, |y_ref|))]

    over the whole batch, or over each sample that has its own steps. Unlike `LocalError` it needs no embedded pair.
    Times are constants under differentiation; with learned step sizes, the size of the step itself is not. It costs one
    step of the solver and `substeps` of the reference, by default 12 evaluations.

    Attributes:
        transform: "log": log(1 + E), whose gradient is bounded. "scaled": E |h|. "plain": E.
        through: What the gradient sees. "step": only the steps; the state at their start is a constant, so any adjoint
            works. "state": that state too, which depends on field and solver.
        moves: What the gradient through the steps changes: the "field", a learned "solver", or "both".
        reference: The finer scheme: of higher order than the solver, or of the same order with several substeps.
        substeps: The number of its steps over one step of the solver.
        rtol, atol: The allowed error of one step: E is one there. Choose it by what the predictions are for, not by
            what the solver can reach.

    Raises:
        UserError: An option is unknown, or a number is out of its range.
    """

    transform: Transform = eqx.field(static=True, default="log", kw_only=True)
    through: ThroughStep = eqx.field(static=True, default="step", kw_only=True)
    moves: Moves = eqx.field(static=True, default="both", kw_only=True)
    reference: Tableau = eqx.field(static=True, default=DOPRI5, kw_only=True)
    substeps: int = eqx.field(static=True, default=2, kw_only=True, converter=lambda n: checked_count("substeps", n))
    rtol: Any = eqx.field(converter=number("rtol"), default=1e-3, kw_only=True)
    atol: Any = eqx.field(converter=number("atol", 0.0), default=1e-3, kw_only=True)

    def __check_init__(self):
        for name, kinds in (("transform", Transform), ("through", ThroughStep), ("moves", Moves)):
            check_known(name, getattr(self, name), get_args(kinds))

    def request(self, problem: Problem, solver: AbstractSolver, key: Any) -> Request:
        del problem
        key = needs_key(self, key)
        refuse_without_steps(self, solver)
        self._refuse_coarse(solver.known_order())
        if self.moves == "solver" and not solver.learned:
            raise UserError(f"moves='solver' needs one that learns, got {type(solver).__name__}: use LearnedRK")
        through_state = self.through == "state"
        return Request(pick=Pick(None, key, through_state), otherwise="through='step'" if through_state else None)

    def _refuse_coarse(self, order: float) -> None:
        """Refuse a reference that is not finer than a step of this order.

        Raises:
            UserError: It is not finer.
        """
        name, finer = self.reference.name, self.reference.order
        if finer < order:
            raise UserError(f"reference {name} has order {finer}, the solver {order:g}: use one of at least that order")
        if finer == order and self.substeps == 1:
            raise UserError(f"one step of {name} is no finer than the solver's, of the same order: use more substeps")

    def value(self, seen: Observation) -> Array:
        assert seen.picked is not None
        problem, solver, picked = seen.problem, seen.solver, seen.picked
        if self.moves == "field":
            solver = _constant(solver)
        elif self.moves == "solver":
            problem = _constant(converted(problem))  # also the values that the field closes over
        control = "per_sample" if solver.scale().per_sample else "joint"
        scale = Adaptive(DOPRI5, self.rtol, self.atol, control=control)
        field = problem.vector_field(picked.t)
        f = lambda t, y: field(t, y, problem.args)
        y1, h = solver.own_step(f, picked)
        finer = self._finer(f, picked.t, picked.y, h)
        apart = jax.tree.map(jnp.subtract, y1, finer)
        error = scale.norm(problem)(scale.controller(problem.t0.dtype).scaled(apart, picked.y, finer))
        return jnp.mean(transformed(self.transform, error, h))

    def _finer(self, f: Callable[[Time, State], State], t: Time, y: State, h: Time) -> State:
        """The state at t + h, from the reference."""
        size = h / self.substeps

        def step(at, _):
            t, y = at
            return (t + size, step_without_end(self.reference, f, t, y, size)[0]), None

        return jax.lax.scan(step, (t, y), length=self.substeps)[0][1]


def _constant(tree: Any) -> Any:
    """`tree`, constant under differentiation."""
    return jax.tree.map(lambda x: jax.lax.stop_gradient(x) if eqx.is_inexact_array(x) else x, tree)

"""Recording: a diffrax solver that records its steps for penalties."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp

from ..._types import Count, State, Time
from ..base.pick import Pick, Picked, Recorded
from ..base.problem import Problem
from ..rk.controller import Controller
from ..rk.step import EstimatedStep


class RecordingState(NamedTuple):
    """The state of a `Recording` solver. diffrax restores it when it rejects a step.

    Attributes:
        inner: The state of the solver itself.
        n: The number of accepted steps.
        recorded: Costs and picks of these steps.
    """

    inner: Any
    n: Count
    recorded: Recorded


class Recording(diffrax.AbstractWrappedSolver):
    """`solver`, with the costs of the steps and the picks in its state. The steps do not change.

    A picked time is moved back to the start of the step that contains it: between steps the path of an SDE is not
    known.

    Attributes:
        solver: The solver that steps.
        problem: The problem with the costs and picks.
        controller: The tolerances that scale the errors of the steps.
        norm: The norm of an error.
    """

    solver: diffrax.AbstractSolver
    problem: Problem
    controller: Controller
    norm: Callable[[State], Time]

    @property
    def term_structure(self):
        return self.solver.term_structure

    @property
    def interpolation_cls(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.solver.interpolation_cls

    @property
    def term_compatible_contr_kwargs(self):
        return self.solver.term_compatible_contr_kwargs

    @property
    def scan_kind(self):
        """diffrax's forward mode sets it, since this class passes as an instance of the wrapped solver."""
        return self.solver.scan_kind  # pyright: ignore[reportAttributeAccessIssue]

    def order(self, terms):
        return self.solver.order(terms)

    def strong_order(self, terms):
        return self.solver.strong_order(terms)

    def error_order(self, terms):
        return self.solver.error_order(terms)

    def init(self, terms, t0: Any, t1: Any, y0, args):
        zero, none = jnp.zeros_like(t0), jnp.zeros((), jnp.int32)
        nothing = Picked(t0, y0, zero, none)
        recorded = Recorded((zero,) * len(self.problem.costs), (nothing,) * len(self.problem.picks))
        return RecordingState(self.solver.init(terms, t0, t1, y0, args), none, recorded)

    def step(self, terms, t0: Any, t1: Any, y0, args, solver_state, made_jump):
        inner, n, recorded = solver_state
        y1, estimate, dense, inner, result = self.solver.step(terms, t0, t1, y0, args, inner, made_jump)
        t, h = t0, t1 - t0
        charged = []
        if self.problem.costs:
            step: Any = EstimatedStep(self.controller, t, h, y0, y1, estimate, self.norm)
            charged = [cost(step) for cost in self.problem.costs]
        costs = tuple(old + new for old, new in zip(recorded.costs, charged, strict=True))
        here = Picked(t, y0, h, n)
        picks = zip(recorded.picked, self.problem.picks, strict=True)
        picked = tuple(_where(_is_picked(pick, here), here, old) for old, pick in picks)
        return y1, estimate, dense, RecordingState(inner, n + 1, Recorded(costs, picked)), result

    def func(self, terms, t0, y0, args):
        return self.solver.func(terms, t0, y0, args)


def _is_picked(pick: Pick, here: Picked) -> Any:
    """Whether this step replaces the one picked before."""
    if pick.at is None:  # step n replaces it with probability 1 / (n + 1)
        luck = jax.random.uniform(jax.random.fold_in(pick.key, here.step), (), here.t.dtype)
        return luck * (here.step + 1).astype(here.t.dtype) < 1
    return pick.at >= here.t


def _where(now: Any, new: Picked, old: Picked) -> Picked:
    return jax.tree.map(lambda a, b: jnp.where(now, a, b), new, old)

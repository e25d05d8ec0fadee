"""A fixed-step solve with dense output or events: it keeps the polynomial of each step, or looks into it."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._types import State, Time
from ..base.dense import DenseOutput, Pieces, horner, share
from ..base.event import first_event
from ..base.grid import GridState
from ..base.memory import remembering
from ..base.problem import Derivative, Problem
from ..base.solution import Happened
from ..base.spread import spread
from .stages import combine
from .step import hermite, polynomial
from .table import StepTable


def cross_observed(
    table: StepTable, problem: Problem, start: GridState, t0: Array, t1: Array, derivative: Derivative
) -> tuple[GridState, Pieces | None]:
    """The state at t1, from `start` at t0, and the polynomials of the steps if the problem asks for them.

    It costs one evaluation more than the steps: the slope at the end of each step is the first one of the next. After
    an event a sample stands still.
    """
    field = problem.vector_field(t0)
    f = lambda t, y: field(t, y, problem.args)

    def step(carry, row):
        (at, k1), (a, b, c, t, h) = carry, row
        if at.event is not None:
            h = jnp.where(at.event.index >= 0, jnp.zeros_like(h), h)
        ks = table.slopes(f, (a, b, c), t, at.y, h, k1)
        y1 = combine(at.y, h, b, ks, table.b_used)
        end = f(t + h, y1)
        terms = _terms(table, at.y, y1, h, ks, end)
        event, seen, y1 = _through_event(problem, at, t, h, terms, y1)
        piece = Pieces(t, h, terms) if problem.dense else None
        return (at.on(y1, t, h, event, seen), end), piece

    if derivative not in ("none", "forward"):
        step = remembering(step, derivative, start.y)
    rows = (table.a, table.b, table.c, *table.grid(t0, t1))
    (at, _), pieces = jax.lax.scan(step, (start, f(t0, start.y)), rows)
    return at, pieces


def dense_output(pieces: Pieces, problem: Problem, event: Happened | None) -> DenseOutput:
    """The dense output of a solve whose steps have these polynomials."""
    end = problem.t1 if event is None else event.t
    samples = problem.samples if problem.batched else None
    return DenseOutput(
        pieces, jnp.asarray(len(pieces.t)), origin=problem.clock.origin, t0=problem.t0, t1=end, samples=samples
    )


def _terms(table: StepTable, y: State, y1: State, h: Time, ks: list[State], end: State) -> tuple[State, ...]:
    if table.tableau is None:
        return hermite(y, y1, h, ks[0], end)
    return polynomial(table.tableau.dense, y, h, [*ks, end])


def _through_event(
    problem: Problem, at: GridState, t: Time, h: Time, terms: Any, y1: State
) -> tuple[Happened | None, tuple[Array, ...], State]:
    """The event so far, the conditions' values at the end of the step, and the state there, or at the event in it."""
    if at.event is None:
        return None, (), y1
    inside = lambda s: horner(terms, share(s, jnp.broadcast_to(t, s.shape), jnp.broadcast_to(h, s.shape)))
    found = first_event(problem, inside, t, h, at.seen)
    now = found.now & (at.event.index < 0)
    event = Happened(jnp.where(now, found.index, at.event.index), jnp.where(now, found.t, at.event.t))
    there = inside(jnp.where(now, found.t, jnp.broadcast_to(t, found.t.shape)))
    return event, found.last, jax.tree.map(lambda a, b: jnp.where(spread(now, a), a, b), there, y1)

"""The end of a solve with events: their times with derivatives, and the outputs that come before them."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from ..solvers.base.event import with_derivative
from ..solvers.base.problem import Problem
from ..solvers.base.solution import Happened, Solution, Status


def at_events(sol: Solution, problem: Problem) -> Solution:
    """The solution with the times of its events in the user's time, and with derivatives through them."""
    if sol.event is None:
        return sol
    happened, y1 = with_derivative(problem, sol.event, sol.y1)
    none = happened.index < 0
    missing = none & jnp.asarray([event.required for event in problem.events]).any()
    status = jnp.broadcast_to(sol.status, jnp.broadcast_shapes(sol.status.shape, none.shape))
    status = jnp.where((status == int(Status.ok)) & missing, int(Status.no_event), status).astype(jnp.int32)
    stats = sol.stats if sol.stats.nfe is None else dataclasses.replace(sol.stats, nfe=sol.stats.nfe + 1)
    event = Happened(happened.index, problem.clock.origin + happened.t)
    return dataclasses.replace(sol, y1=y1, status=status, stats=stats, event=event)


def asked_outputs(sol: Solution, problem: Problem) -> Any:
    """Which outputs there are: not those after a row's end, nor those after an event; None if there are all."""
    ts = problem.ts
    if ts is None:
        return None
    present = ~jnp.isnan(ts) if problem.own_times else None
    if sol.event is None:
        return present
    lanes = jnp.broadcast_shapes(ts.shape[1:], sol.event.t.shape)
    rows = lambda x: jnp.broadcast_to(x[:, None] if x.ndim == 1 and lanes else x, (len(ts), *lanes))
    each = lambda x: jnp.broadcast_to(x, (len(ts), *lanes))
    before = (rows(ts) - each(sol.event.t)) * each(problem.direction) <= 0  # sol.event.t: elapsed
    reached = before | each(sol.event.index < 0)
    return reached if present is None else reached & rows(present)

"""FixedSteps: a table of coefficients, one scan."""

import dataclasses
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._types import Count, State, VectorField
from ...errors import UserError
from ..base.memory import remembering
from ..base.pick import Pick, Picked, Watched
from ..base.solution import Solution, Stats, Status
from ..base.solver import AbstractSolver, Derivative, Problem
from .stages import combine, stages
from .tableaus import Tableau


class Table(eqx.Module):
    """N rows of coefficients, one a step: every scheme of a fixed NFE, classical or learned, is one.

    Attributes:
        a, b, c: Coefficients of each step, (N, s, s) strictly lower, (N, s) and (N, s).
        h: The fraction of the interval that each step crosses, (N,), summing to 1.
        sound: Whether the numbers can be trusted: false where a projection was ill-conditioned.
        a_used, b_used: The structural non-zeros (static): what is false here is never computed.
    """

    a: Float[Array, "n s s"]
    b: Float[Array, "n s"]
    c: Float[Array, "n s"]
    h: Float[Array, " n"]
    sound: Array
    a_used: tuple[tuple[bool, ...], ...] = eqx.field(static=True)
    b_used: tuple[bool, ...] = eqx.field(static=True)

    def grid(self, t0: Array, t1: Array) -> tuple[Array, Array]:
        """When the steps from t0 to t1 start, and their sizes; (N,) each."""
        return t0 + (t1 - t0) * (jnp.cumsum(self.h) - self.h), (t1 - t0) * self.h

    def advance(self, f: Callable[[Array, State], State], row: tuple[Array, Array, Array], t, y: State, h) -> State:
        """The state at the end of one step of size h from y at t, by the coefficients (a, b, c) of one row."""
        a, b, c = row
        return combine(y, h, b, stages(f, t, y, h, a, c, self.a_used), self.b_used)

    def cross(self, field: VectorField, start: "Walk", t0: Array, t1: Array, args, derivative: Derivative) -> "Walk":
        """The walk at t1, from `start` at t0, one row of the table after another."""

        def step(walk, row):
            a, b, c, t, h = row
            return walk.on(self.advance(lambda t, y: field(t, y, args), (a, b, c), t, walk.y, h), t, h), None

        if derivative not in ("none", "forward"):
            step = remembering(step, derivative, start.y)
        return jax.lax.scan(step, start, (self.a, self.b, self.c, *self.grid(t0, t1)))[0]


class Walk(eqx.Module):
    """Where a fixed-step solve stands, after how many steps, and what it has picked so far."""

    y: State
    n: Count
    picked: tuple[Picked, ...]

    @classmethod
    def begin(cls, problem: Problem, starts: Callable[[Array, Array], Array]) -> "Walk":
        """The walk at its start, with the numbers of the steps that it is to pick; `starts(t0, t1)` says when the steps
        of an interval begin."""
        zero = jnp.zeros_like(problem.t0)
        steps = (_step_of(pick, problem, starts) for pick in problem.picks)
        picked = tuple(Picked(zero, problem.y0, zero, step) for step in steps)
        return cls(problem.y0, jnp.zeros((), jnp.int32), picked)

    def on(self, y: State, t: Array, h: Array) -> "Walk":
        """One step further: it started at t and went h far, to the state y."""

        def pick(old: Picked) -> Picked:
            new = Picked(t, self.y, h, old.step)
            return jax.tree.map(lambda a, b: jnp.where(self.n == old.step, a, b), new, old)

        return Walk(y, self.n + 1, tuple(pick(old) for old in self.picked))


class AbstractTableSolver(AbstractSolver):
    """A solver that runs a `Table`: a fixed number of steps, a known number of evaluations, no custom derivative."""

    steps: eqx.AbstractVar[int]

    @property
    @abstractmethod
    def stages(self) -> int:
        """Evaluations of the field in one step."""

    @property
    @abstractmethod
    def order(self) -> int:
        """The order of the scheme."""

    @abstractmethod
    def table(self, dtype) -> Table:
        """The coefficients of every step, in `dtype`."""

    @property
    def nfe(self) -> int:
        """Evaluations of the field on one interval."""
        return self.stages * self.steps

    def run(self, problem: Problem, derivative: Derivative) -> Solution:
        table, field = self.table(problem.t0.dtype), problem.vector_field()
        cross = lambda walk, t0, t1: table.cross(field, walk, t0, t1, problem.args, derivative)
        start = Walk.begin(problem, lambda t0, t1: table.grid(t0, t1)[0])
        end, ys, intervals = through_times(cross, start, problem)
        sol = solution_of(problem, table.sound, end.y, ys, intervals * self.nfe, intervals * self.steps)
        return dataclasses.replace(sol, watched=Watched((), end.picked))


class FixedSteps(AbstractTableSolver):
    """A classical tableau with `steps` equal steps.

    Where `ts` is given to `solve`, `steps` counts per interval of t0, *ts, t1.

    Raises:
        UserError: `steps` is not a whole number of at least 1.
    """

    tableau: Tableau = eqx.field(static=True)
    steps: int = eqx.field(static=True)

    def __init__(self, tableau: Tableau, steps: int):
        self.tableau = tableau
        self.steps = checked_steps(steps)

    @property
    def stages(self) -> int:
        return self.tableau.stages

    @property
    def order(self) -> int:
        return self.tableau.order

    def check(self, problem: Problem) -> None:
        del problem  # a classical tableau crosses any interval

    def table(self, dtype) -> Table:
        repeat = [(self.steps, *x.shape) for x in (self.tableau.a, self.tableau.b, self.tableau.c)]
        a, b, c = (
            jnp.broadcast_to(jnp.asarray(x, dtype), shape)
            for x, shape in zip((self.tableau.a, self.tableau.b, self.tableau.c), repeat, strict=True)
        )
        h = jnp.full(self.steps, 1 / self.steps, dtype)
        used = tuple(bool(x) for x in self.tableau.b != 0)
        return Table(a, b, c, h, jnp.asarray(True), self.tableau.sparsity, used)

    def __str__(self) -> str:
        return f"FixedSteps({self.tableau.name}, steps={self.steps})"


def checked_steps(steps: int, name: str = "steps") -> int:
    """`steps`, where it is a number of steps."""
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
        raise UserError(f"{name} must be a whole number >= 1, got {steps!r}")
    return int(steps)


def in_order(ts: Array, t0: Array, t1: Array) -> Array:
    """Whether t0, *ts, t1 never turns back."""
    gaps = jnp.diff(jnp.concatenate([t0[None], ts, t1[None]]))
    return jnp.where(t1 >= t0, jnp.all(gaps >= 0), jnp.all(gaps <= 0))


def through_times(cross: Callable[[Any, Array, Array], Any], start: Any, problem: Problem) -> tuple[Any, Any, int]:
    """Where `cross(at, t_from, t_to)` gets from `start` to t1, its states `.y` at ts, and how many intervals it took.

    An interval known to be empty before the program runs (ts begins at t0, say) is not crossed. Where ts is traced
    that cannot be known, and the empty interval costs its evaluations.
    """
    t0, t1, ts = problem.t0, problem.t1, problem.ts
    if ts is None:
        return cross(start, t0, t1), None, 1

    def save(carry, t):
        here = cross(carry[1], carry[0], t)
        return (t, here), here.y

    targets = ts[1:] if problem.saves_start else ts
    (last, end), ys = jax.lax.scan(save, (t0, start), targets)
    if problem.saves_start:
        ys = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), start.y, ys)
    if problem.saves_end:
        return end, ys, len(targets)
    return cross(end, last, t1), ys, len(targets) + 1


def nodes_of(t0: Array, t1: Array, ts: Any, problem: Problem) -> Array:
    """The ends of the intervals that a fixed-step solve crosses, (intervals + 1,)."""
    nodes = [t0[None]]
    if ts is not None:
        nodes.append(ts[1:] if problem.saves_start else ts)
    if ts is None or not problem.saves_end:
        nodes.append(t1[None])
    return jnp.concatenate(nodes)


def _step_of(pick: Pick, problem: Problem, starts: Callable[[Array, Array], Array]) -> Count:
    """The number of the step that is picked: any of them, or the one that a time falls in."""
    nodes = nodes_of(problem.t0, problem.t1, problem.ts, problem)
    all_starts = jax.vmap(starts)(nodes[:-1], nodes[1:]).reshape(-1)
    if pick.at is None:
        return jax.random.randint(pick.key, (), 0, len(all_starts), jnp.int32)
    passed = (pick.at - all_starts) * problem.direction >= 0
    return jnp.maximum(jnp.sum(passed).astype(jnp.int32) - 1, 0)


def solution_of(problem: Problem, sound: Array, y1: State, ys: Any, nfe: int, steps: int) -> Solution:
    """The solution of a solve of a known number of evaluations and steps; `concluded` looks at its numbers.

    `sound` is false where coefficients cannot be trusted.
    """
    status = jnp.where(sound, int(Status.ok), int(Status.ill_conditioned))
    if problem.ts is not None:
        status = jnp.where(in_order(problem.ts, problem.t0, problem.t1), status, int(Status.unordered_times))
    evaluations, taken = jnp.asarray(nfe), jnp.asarray(steps)
    return Solution(y1, ys, Stats(evaluations, taken, jnp.zeros_like(taken), evaluations), status.astype(jnp.int32))

"""The exact gradient of a reversible solve: the reverse pass undoes its steps."""

import dataclasses
from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..._types import State
from ..base.closure import converted, cotangent, parameters, with_parameters
from ..base.grid import nodes_of
from ..base.problem import Problem
from ..base.solution import Solution
from .coupled import Coupled, Pair, StepRow
from .fixed import AbstractTableSolver
from .table import StepTable


class Scheme(Protocol):
    """The part of a `Reversible` solver that the reverse pass uses."""

    @property
    def solver(self) -> AbstractTableSolver: ...
    def coupled(self, table: StepTable) -> Coupled: ...
    def forward(self, problem: Problem, table: StepTable) -> tuple[Solution, Pair]: ...


def solve_reversible(solver: Scheme, problem: Problem) -> Solution:
    """The solution, with a reverse mode that stores only the pair of states at t1.

    The reverse pass goes through the steps from the last to the first. It undoes each step with the two increments that
    made it; vector-Jacobian products of the same two linearisations pull the cotangent back. Exact for the discrete
    solution, up to the rounding that undoing amplifies (see `Reversible`). Each step costs 2 s evaluations, each with
    one product.
    """
    table = solver.solver.table(problem.t0.dtype)
    unroll = problem.unrolled(solver.solver.steps, 2 * solver.solver.stages)
    table = dataclasses.replace(table, unroll="stages" if unroll == "all" else unroll)  # its reverse pass is a loop
    return _solve((converted(problem), table), jax.lax.stop_gradient(solver))


@eqx.filter_custom_vjp
def _solve(inputs: tuple[Problem, StepTable], solver: Scheme) -> Solution:
    return solver.forward(*inputs)[0]


@_solve.def_fwd
def _forward(perturbed, inputs: tuple[Problem, StepTable], solver: Scheme):
    sol, end = solver.forward(*inputs)
    return sol, (end, perturbed)  # in the residuals `perturbed` stays static


@_solve.def_bwd
def _backward(kept, cotangents: Solution, _, inputs: tuple[Problem, StepTable], solver: Scheme):
    end, perturbed = kept
    return _Undo(solver, inputs, perturbed, cotangents.ys).pull(end, cotangents.y1)


class _Pull(NamedTuple):
    """The pair at some time, its cotangent, and the cotangent of the parameters summed so far."""

    pair: Pair
    cotangent: Pair
    parameters: PyTree


class _Undo:
    """The reverse pass of one reversible solve. It computes cotangents only for `perturbed` inputs."""

    def __init__(
        self, solver: Scheme, inputs: tuple[Problem, StepTable], perturbed: tuple[Problem, StepTable], ys_cotangent: Any
    ):
        (problem, table), (moved, moved_table) = inputs, perturbed
        self.problem, self.coupled = problem, solver.coupled(table)
        self.varied, self.rest = parameters(problem, moved)
        self.varied_table, self.fixed_table = eqx.partition(table, moved_table)
        times = any((moved.t0, moved.t1, bool(moved.ts), moved_table.h))
        self.moving = StepRow(moved_table.a, moved_table.b, moved_table.c, times, times)
        self.ys_cotangent = None
        if jax.tree.leaves(ys_cotangent):
            zeros = jax.tree.map(lambda x: jnp.zeros((len(problem.ts), *x.shape), x.dtype), problem.y0)
            self.ys_cotangent = eqx.combine(ys_cotangent, zeros)

    def pull(self, end: Pair, y1_cotangent: Any) -> tuple[Problem, StepTable]:
        """The cotangents of the problem and the table, from the cotangents of the state at t1 and of the outputs."""
        problem, zeros = self.problem, lambda tree: jax.tree.map(jnp.zeros_like, tree)
        (starts, ends), times = jax.vjp(self._intervals, problem.t0, problem.t1, problem.ts)
        nothing = zeros(problem.y0)
        pull = _Pull(end, Pair(eqx.combine(y1_cotangent, nothing), nothing), zeros(self.varied))
        outputs = jnp.arange(len(ends)) + int(problem.saves_start)
        carry = (pull, zeros(self.varied_table))
        (pull, table), dtimes = jax.lax.scan(self._interval, carry, (starts, ends, outputs), reverse=True)
        dt0, dt1, dts = times(dtimes)
        dy, dz = pull.cotangent
        if problem.saves_start:
            dy = self._with_output(dy, jnp.zeros((), outputs.dtype))
        y0 = jax.tree.map(jnp.add, dy, dz)
        return cotangent(problem, parameters=pull.parameters, y0=y0, t0=dt0, t1=dt1, ts=dts), table

    def _intervals(self, t0: Array, t1: Array, ts: Any) -> tuple[Array, Array]:
        """The start and end times of the intervals that the solve covered."""
        nodes = nodes_of(dataclasses.replace(self.problem, t0=t0, t1=t1, ts=ts))
        return nodes[:-1], nodes[1:]

    def _with_output(self, dy: State, index: Array) -> State:
        """`dy` plus the cotangent of output number `index`, if there is one."""
        if self.ys_cotangent is None:
            return dy

        def add(dy, dys):
            return dy + jnp.where(index < len(dys), dys[jnp.minimum(index, len(dys) - 1)], 0)

        return jax.tree.map(add, dy, self.ys_cotangent)

    def _interval(self, carry: tuple[_Pull, StepTable], interval: tuple[Array, Array, Array]):
        """Go from the end of an interval, where an output may have been saved, to its start."""
        (pull, gathered), (start, end, output) = carry, interval
        pair, (dy, dz), parameters = pull
        pull = _Pull(pair, Pair(self._with_output(dy, output), dz), parameters)

        def rows(varied, start, end):
            coupled = dataclasses.replace(self.coupled, table=eqx.combine(varied, self.fixed_table))
            return eqx.partition(coupled.rows(start, end), self.moving)

        moving, back, still = jax.vjp(rows, self.varied_table, start, end, has_aux=True)
        pull, drows = jax.lax.scan(self._step, pull, (moving, still), reverse=True)
        table, dstart, dend = back(drows)
        return (pull, jax.tree.map(jnp.add, gathered, table)), (dstart, dend)

    def _step(self, pull: _Pull, rows: tuple[StepRow, StepRow]) -> tuple[_Pull, StepRow]:
        """Undo one step, and pull the cotangent at its end back to its start."""
        moving, still = rows
        weight = self.coupled.weight(eqx.combine(moving, still))

        def increment(of):
            def value(varied, moving, state):
                problem = with_parameters(self.problem, varied, self.rest)
                field = problem.vector_field()
                return of(lambda t, y: field(t, y, problem.args), eqx.combine(moving, still), state)

            return value

        (y, z), (dy, dz), parameters = pull
        behind, back = jax.vjp(increment(self.coupled.behind), self.varied, moving, y)
        z = jax.tree.map(jnp.add, z, behind)
        of_behind, row_of_behind, dy_of_behind = back(jax.tree.map(jnp.negative, dz))
        dy = jax.tree.map(jnp.add, dy, dy_of_behind)

        ahead, back = jax.vjp(increment(self.coupled.ahead), self.varied, moving, z)
        y = jax.tree.map(lambda y, z, ahead: z + (y - z - ahead) / weight, y, z, ahead)
        of_ahead, row_of_ahead, dz_of_ahead = back(dy)
        dz = jax.tree.map(lambda dz, dy, more: dz + (1 - weight) * dy + more, dz, dy, dz_of_ahead)
        dy = jax.tree.map(lambda dy: weight * dy, dy)

        parameters = jax.tree.map(lambda p, a, b: p + (a + b), parameters, of_behind, of_ahead)
        return _Pull(Pair(y, z), Pair(dy, dz), parameters), jax.tree.map(jnp.add, row_of_behind, row_of_ahead)

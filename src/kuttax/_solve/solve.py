"""solve: solve an ODE or SDE with any solver and adjoint."""

import dataclasses
from collections.abc import Hashable, Sequence
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import PRNGKeyArray, PyTree

from .._types import VectorField
from ..adjoints.base import AbstractAdjoint
from ..adjoints.discrete import DiscreteAdjoint
from ..arrays import as_jax
from ..callbacks import told
from ..errors import UserError
from ..keys import check_key
from ..kinds import check_kind, checked_count
from ..knots import knots_of
from ..penalties.base import AbstractPenalty, Penalties
from ..penalties.engine import solve_penalised
from ..solvers.base.axes import checked_axes
from ..solvers.base.closure import with_traced_field
from ..solvers.base.event import Event, check_events
from ..solvers.base.once import naming_the_adjoint
from ..solvers.base.precision import ComputedIn, carried_in, cast
from ..solvers.base.problem import Problem, Unroll
from ..solvers.base.solution import Solution, Status, concluded, raise_for_status
from ..solvers.base.solver import AbstractSolver, check_solver
from ..solvers.base.times.clock import Clock
from ..solvers.base.times.coarse import is_coarse, refuse_coarse_time
from ..solvers.base.times.elapsed import Elapsed, elapsed
from ..solvers.sde.sde import SDE
from .events import asked_outputs, at_events
from .features import check_features
from .fields import check_field, check_function, check_slope, functions_of, on_whole_state
from .reads import beside_arrays, note_own_changes, reads
from .state import checked_state, samples_back, samples_first
from .stochastic import check_stochastic, penalty_key


def solve(
    field: VectorField | SDE,
    y0: PyTree,
    t0: ArrayLike,
    t1: ArrayLike | None,
    *,
    solver: AbstractSolver,
    args: Any = None,
    ts: ArrayLike | Sequence[float] | None = None,
    batch_axis: int | None = None,
    args_axes: Any = None,
    jumps: ArrayLike | Sequence[float] | Literal["knots", "ts"] | None = None,
    event: Event | Sequence[Event] | None = None,
    dense: bool = False,
    adjoint: AbstractAdjoint | None = None,
    penalty: AbstractPenalty | Penalties | None = None,
    key: PRNGKeyArray | None = None,
    max_steps: int = 4096,
    unroll: Unroll | None = None,
    throw: bool = True,
) -> Solution:
    """Solve dy/dt = field(t, y, args), y(t0) = y0, or an `SDE`, up to t1.

    The call is compiled once for each field, solver structure, shape and dtype. A plain Python field is compiled again
    if a value that it reads beside its arguments has changed: closed-over and global variables, attributes, NumPy
    arrays. Pass values that change often in `args`, or as a module's leaves: they need no recompilation.

    Args:
        field: The vector field, or an `SDE`. With `batch_axis`, write it for one sample.
        y0: The initial state: a pytree of real floating-point arrays of one dtype; a list of numbers becomes an array.
            With float16 and bfloat16, the field computes in that dtype, and the solver sums in float32.
        t0, t1: Start and end, one number, or with `batch_axis` one for each sample, (samples,). t1 < t0 solves
            backwards in time. If t1 is None, it is the last of `ts`, for each sample with a row of its own.
            Internally, time counts from t0. Differences of times known at trace time are computed in float64: a start
            at 1.7e9 s loses no digits.
        solver: `FixedSteps`, `Adaptive`, `LearnedRK`, `Reversible` or `FromDiffrax`; for an SDE `EulerMaruyama`,
            `Milstein`, `StochasticHeun`, `SRK` or `FromDiffrax`.
        args: Any pytree, passed to the field. Entries that are not arrays count as values that the field reads.
        ts: Times to save at, sorted from t0 towards t1, (times,), or with `batch_axis` a row for each sample, (samples,
            times). A row may end in NaN: the outputs there are NaN, and no gradient comes from them.
        batch_axis: The axis of every leaf of y0 that counts samples. None: the field sees the whole state.
        jumps: Times where the field jumps, such as the knots of a stepwise input: sorted, (jumps,), or with
            `batch_axis` a row for each sample, which may end in NaN. "knots": the knots of all paths in `args`, of
            `ZeroOrderHold` and of diffrax's interpolations. "ts": every output, for inputs with knots at the
            observations. Steps end at jumps, and read the field from their own side. A solver with a number of steps
            takes them in each interval between t0, `ts`, `jumps` and t1. Jumps before t0 or after t1 change nothing.
        event: An `Event`, or several: the solve, or that of each sample, ends at the first of them. `y1` is then the
            state there, and `Solution.event` says which one it was, and when. Both have derivatives.
        dense: Keep a polynomial for each step, so that `Solution.evaluate(t)` gives the state at any time. It takes the
            memory of four to seven states a step; an adaptive solver makes room for `max_steps` steps.
        adjoint: `DiscreteAdjoint()` (the default), `BacksolveAdjoint()` or `ForwardMode()`.
        args_axes: With `batch_axis`, which of the args have a sample axis, as `in_axes` of `jax.vmap`: an int, None, or
            a tuple or a dict of such, one for each entry of args. None: all samples share them.
        penalty: A term to add to the loss, which keeps the field cheap to integrate (`kuttax.penalties`).
        key: Draws the noise of an SDE: the same key gives the same path. Penalties that draw at random use it too.
        max_steps: The largest number of steps, accepted and rejected, of an adaptive solver.
        unroll: What the compiled program of a solve with fixed steps has written out. "none": nothing, so that a large
            field compiles fast. "stages": the stages of a step. "all": every step, if there are no `ts` and no `jumps`.
            None: by the size of the field and whether it convolves (docs/performance.md). An adaptive solve is a loop;
            only the reverse pass of a large state reads this option.
        throw: Raise `SolveError` if the solve does not reach t1. Otherwise check `status`: y1 is then NaN. Inside a
            compiled function the error needs a callback to Python. `jax.export` refuses such a function, and JAX's
            compilation cache does not keep it: use `throw=False` there, and `kx.raise_for_status` on the result.

    Returns:
        A `Solution`.

    Raises:
        UserError: An argument is invalid.
        SolveError: The solve failed, and `throw` is true. Inside a compiled function it is Equinox's runtime error.
    """
    check_solver(solver)
    if adjoint is not None:
        check_kind("adjoint", adjoint, AbstractAdjoint, "a kuttax adjoint such as kx.DiscreteAdjoint()")
    y0, (t0, t1, ts, args) = checked_state(y0), as_jax((t0, t1, ts, args))
    if batch_axis is not None:
        y0 = samples_first(y0, batch_axis)
    max_steps = checked_count("max_steps", max_steps, 1, 2**31 - 1)
    if unroll not in (None, *get_args(Unroll)):
        raise UserError(f"unroll must be 'none', 'stages', 'all' or None, got {unroll!r}")
    if key is not None:
        check_key(key)
    check_field(field)
    dtype = jax.tree.leaves(y0)[0].dtype
    samples = None if batch_axis is None else jax.tree.leaves(y0)[0].shape[0]
    at_outputs = isinstance(jumps, str) and jumps == "ts"
    jumps = _jumps(jumps, ts, args)
    times = elapsed(t0, t1, ts, carried_in(dtype), jumps=jumps, samples=samples)
    problem = Problem(field, y0, times.t0, times.t1, times.ts, args, batch_axis is not None, max_steps)
    problem = dataclasses.replace(
        problem,
        saves_start=times.saves_start,
        saves_end=times.saves_end,
        jumps=times.jumps,
        jumps_at_outputs=at_outputs,
        known_nodes=None if at_outputs else times.nodes,
        events=_events(event),
        dense=dense,
        unroll=unroll,
    )
    if args_axes is not None:
        if samples is None:
            raise UserError("args_axes says which args count samples: give batch_axis too, or leave it out")
        problem = dataclasses.replace(problem, args_axes=checked_axes(args_axes, args, samples))
    if jnp.dtype(problem.t0.dtype) != dtype:
        problem = dataclasses.replace(problem, computed_in=str(dtype))
    refuse_coarse_time(times, on_whole_state(problem), problem.y0, args, problem.precision)
    check_features(problem, solver, adjoint, penalty)
    if isinstance(field, SDE):
        problem = dataclasses.replace(problem, key=key)
        check_stochastic(problem, solver, adjoint, penalty, times.ends)
        key = None if penalty is None else penalty_key(problem.key)
    check_events(problem)
    solver.check(problem)
    adjoint = DiscreteAdjoint() if adjoint is None else adjoint
    # Other end times must not trigger a new compilation.
    times = times._replace(ends=None, ts=None, jumps=None, nodes=None)
    functions = (*functions_of(field), *(one.condition for one in problem.events), *beside_arrays(args))
    state = tuple(reads(function) for function in functions)
    with naming_the_adjoint(), told():
        sol = _solve(problem, times, solver, adjoint, penalty, key, state)
        for function, before in zip(functions, state, strict=True):
            note_own_changes(function, before)
        if throw:
            sol = _raised(sol)
    if batch_axis is not None:
        sol = samples_back(sol, batch_axis)
    return sol


@eqx.filter_jit
def _solve(
    problem: Problem,
    times: Elapsed,
    solver: AbstractSolver,
    adjoint: AbstractAdjoint,
    penalty: Any,
    key: PRNGKeyArray | None,
    state: Hashable,
) -> Solution:
    """The solution, compiled once for each `state` of the values that the field reads beside its arguments."""
    del state
    check_slope(problem)
    problem = with_traced_field(problem)
    dtype = jax.tree.leaves(problem.y0)[0].dtype
    coarse = is_coarse(times, on_whole_state(problem), problem.y0, problem.args, problem.precision)
    problem = with_traced_field(_as_solvers_see_it(problem, times))
    free = penalty is None
    sol = adjoint.run(solver, problem) if free else solve_penalised(problem, solver, adjoint, penalty, key)
    if coarse is not None:
        sol = dataclasses.replace(sol, status=jnp.where(coarse, int(Status.coarse_time), sol.status))
    if sol.dense is not None:
        sol = dataclasses.replace(sol, dense=dataclasses.replace(sol.dense, rest=times.rest, dtype=str(dtype)))
    return concluded(at_events(sol, problem), dtype, asked_outputs(sol, problem))


def _jumps(jumps: Any, ts: Any, args: Any) -> Any:
    """The times of the jumps, if they are named by a word."""
    if not isinstance(jumps, str):
        return jumps
    if jumps == "knots":
        return knots_of(args)
    if jumps != "ts":
        raise UserError(f"jumps must be times, 'knots' or 'ts', got {jumps!r}")
    if ts is None:
        raise UserError("jumps='ts' are the times of the outputs: give ts, or name the jumps themselves")
    return ts


def _events(event: Any) -> tuple[Event, ...]:
    events = () if event is None else (event,) if isinstance(event, Event) else event
    if not isinstance(events, list | tuple) or not all(isinstance(one, Event) for one in events):
        raise UserError(f"event must be a kx.Event, or a list of them, got {event!r}: write kx.Event(condition)")
    for n, one in enumerate(events):
        check_function(f"condition of event {n}", one.condition)
    return tuple(events)


def _as_solvers_see_it(problem: Problem, times: Elapsed) -> Problem:
    """`problem` with its clock, and with a state of at least float32."""
    narrow, field = problem.computed_in, problem.field
    if narrow is not None:
        seen = lambda function: ComputedIn(function, narrow)
        if isinstance(field, SDE):
            field = SDE(seen(field.drift), seen(field.diffusion), field.noise, calculus=field.calculus)
        else:
            field = seen(field)
    since = None if problem.jumps is None else jax.lax.stop_gradient(problem.jumps)
    clock = Clock(times.origin, times.jumps_at, since, problem.t1 >= problem.t0, narrow)
    return dataclasses.replace(problem, field=field, y0=cast(problem.y0, problem.t0.dtype), clock=clock)


def _raised(sol: Solution) -> Solution:
    """`sol`, or an error with the cause of its failure: at once if the status is known, else when the program runs."""
    worst = jnp.max(sol.status)
    if not isinstance(worst, Tracer):
        raise_for_status(sol)
        return sol
    messages = [status.message for status in Status]
    # A factor, not a check of y1 alone: outputs and derivatives depend on it too, so all of them run the check.
    one = eqx.branched_error_if(jnp.ones((), jax.tree.leaves(sol.y1)[0].dtype), worst != 0, worst, messages)
    scaled = lambda x: one.astype(x.dtype) * x if jnp.issubdtype(x.dtype, jnp.floating) else x
    numbers = (sol.y1, sol.ys, sol.penalty, sol.event, sol.dense)
    y1, ys, penalty, event, dense = jax.tree.map(lambda x: scaled(jnp.asarray(x)), numbers)
    return dataclasses.replace(sol, y1=y1, ys=ys, penalty=penalty, event=event, dense=dense)

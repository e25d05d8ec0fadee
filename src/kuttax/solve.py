"""solve: the one way in."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import PRNGKeyArray, PyTree

from ._types import VectorField
from .adjoints.base import AbstractAdjoint
from .adjoints.discrete import DiscreteAdjoint
from .errors import UserError
from .penalised import solve_penalised
from .penalty import AbstractPenalty, Penalties
from .solvers.base import AbstractSolver, Problem
from .solvers.sde import SDE
from .solvers.solution import Solution, SolveError, Status
from .solvers.stages import spread
from .stochastic import check_stochastic, penalty_key


def solve(
    field: VectorField | SDE,
    y0: PyTree,
    t0: Any,
    t1: Any,
    *,
    solver: AbstractSolver,
    args: Any = None,
    ts: Any = None,
    batch_axis: int | None = None,
    args_axes: Any = None,
    adjoint: AbstractAdjoint | None = None,
    penalty: AbstractPenalty | Penalties | None = None,
    key: PRNGKeyArray | None = None,
    max_steps: int = 4096,
    throw: bool = True,
) -> Solution:
    """Solve dy/dt = field(t, y, args), y(t0) = y0, or an `SDE`, up to t1.

    The call is compiled, once for each field, solver structure, shape and dtype. Like any compiled JAX function it does
    not see a plain Python field's global variables change: pass what changes in `args`, or in a module's leaves.

    Args:
        field: The vector field, or an `SDE`. With `batch_axis` it is written for one sample.
        y0: The initial state: a pytree of real floating-point arrays of one dtype.
        t0, t1: Start and end; t1 < t0 solves backwards in time.
        solver: `FixedSteps`, `Adaptive`, `LearnedRK`, `Reversible` or `FromDiffrax`; for an SDE `EulerMaruyama`,
            `Milstein`, `StochasticHeun`, `SRK` or `FromDiffrax`.
        args: Any pytree, handed to the field.
        ts: Times to save at, sorted from t0 towards t1; shape (times,).
        batch_axis: The axis of every leaf of y0 that counts samples. None: the field sees the whole state.
        adjoint: `DiscreteAdjoint()` (the default), `BacksolveAdjoint()` or `ForwardMode()`.
        args_axes: With `batch_axis`, which of the args have an axis that counts samples, as `in_axes` of `jax.vmap`: an
            int, None, or a tuple of such, one for each entry of args. None: all samples share them.
        penalty: What makes a field cheap to integrate, to be added to the loss (`kuttax.penalties`).
        key: Draws the noise of an SDE: the same key gives the same path. Also for penalties that draw at random.
        max_steps: The most steps, accepted and rejected, that an adaptive solver may try.
        throw: Raise `SolveError` where the solve does not reach t1. Otherwise look at `status`: y1 is then NaN.

    Returns:
        A `Solution`.

    Raises:
        UserError: Arguments that cannot work.
        SolveError: The solve failed, and `throw` is true. Inside a compiled function it is Equinox's runtime error.
    """
    y0 = _checked_state(y0)
    if batch_axis is not None:
        y0 = _samples_first(y0, batch_axis)
    if not isinstance(max_steps, int) or max_steps < 1:
        raise UserError(f"max_steps must be a whole number >= 1, got {max_steps!r}")
    if key is not None:
        _check_key(key)
    problem = _problem(field, y0, t0, t1, ts, args, batch_axis is not None, max_steps)
    if args_axes is not None:
        problem = dataclasses.replace(problem, args_axes=_checked_axes(args_axes, problem))
    if isinstance(field, SDE):
        problem = dataclasses.replace(problem, key=key)
        check_stochastic(problem, solver, adjoint, penalty)
        key = None if penalty is None else penalty_key(problem.key)
    solver.check(problem)
    sol = _solve(problem, solver, DiscreteAdjoint() if adjoint is None else adjoint, penalty, key)
    if throw:
        sol = _raised(sol)
    if batch_axis is not None:
        sol = _samples_back(sol, batch_axis)
    return sol


@eqx.filter_jit
def _solve(
    problem: Problem, solver: AbstractSolver, adjoint: AbstractAdjoint, penalty: Any, key: PRNGKeyArray | None
) -> Solution:
    _check_slope(problem)
    free = penalty is None
    sol = adjoint.run(solver, problem) if free else solve_penalised(problem, solver, adjoint, penalty, key)
    reached = sol.status == int(Status.ok)
    lost = lambda x: jnp.where(spread(reached, x), x, jnp.nan)  # noqa: E731
    return dataclasses.replace(sol, y1=jax.tree.map(lost, sol.y1))


def _checked_state(y0: PyTree) -> PyTree:
    leaves = jax.tree.leaves(y0)
    if not leaves:
        raise UserError("y0 holds no arrays: give a state with at least one")
    y0 = jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, (float, np.ndarray, np.generic)) else x, y0)
    for leaf in jax.tree.leaves(y0):
        kind = getattr(leaf, "dtype", type(leaf).__name__)
        if not (eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating)):
            raise UserError(f"y0 must hold real floating-point arrays, got {kind}: convert it, e.g. y0.astype(float)")
    kinds = sorted({str(leaf.dtype) for leaf in jax.tree.leaves(y0)})
    if len(kinds) > 1:
        raise UserError(f"the leaves of y0 must share one dtype, got {' and '.join(kinds)}: cast them to one")
    return y0


def _samples_first(y0: PyTree, axis: int) -> PyTree:
    shapes = [leaf.shape for leaf in jax.tree.leaves(y0)]
    if not all(-len(shape) <= axis < len(shape) for shape in shapes):
        raise UserError(f"batch_axis={axis} is no axis of every leaf of y0, whose shapes are {shapes}")
    counts = sorted({shape[axis] for shape in shapes})
    if len(counts) > 1 or counts[0] == 0:
        raise UserError(f"batch_axis={axis} must count the same samples, at least one, in every leaf, got {counts}")
    return y0 if axis == 0 else jax.tree.map(lambda x: jnp.moveaxis(x, axis, 0), y0)


def _checked_axes(axes: Any, problem: Problem) -> Any:
    if not problem.batched:
        raise UserError("args_axes says which args count samples: give batch_axis too, or leave it out")
    several = isinstance(axes, tuple) and isinstance(problem.args, tuple) and len(axes) == len(problem.args)
    if not several and not isinstance(axes, int):
        raise UserError(f"args_axes must be an int, or a tuple with an entry for each of a tuple of args, got {axes}")
    return axes


def _samples_back(sol: Solution, axis: int) -> Solution:
    if axis == 0:
        return sol
    y1 = jax.tree.map(lambda x: jnp.moveaxis(x, 0, axis), sol.y1)
    ys = jax.tree.map(lambda x: jnp.moveaxis(x, 1, axis + 1 if axis >= 0 else axis), sol.ys)
    return dataclasses.replace(sol, y1=y1, ys=ys)


def _problem(field, y0, t0, t1, ts, args, batched: bool, max_steps: int) -> Problem:
    dtype = jax.tree.leaves(y0)[0].dtype
    t0, t1 = _time("t0", t0, dtype), _time("t1", t1, dtype)
    start = end = False
    if ts is not None:
        ts = _array(ts, dtype)
        if ts.ndim != 1 or ts.size == 0:
            raise UserError(f"ts must be a one-dimensional array of at least one time, got shape {ts.shape}")
        start, end = _known_ends(t0, t1, ts)
    problem = Problem(field, y0, t0, t1, ts, args, batched, max_steps)
    return dataclasses.replace(problem, saves_start=start, saves_end=end)


def _known_ends(t0, t1, ts) -> tuple[bool, bool]:
    """Whether ts is known to begin at t0 and to end at t1; refuses times that are known to be out of order."""
    if any(isinstance(x, Tracer) for x in (t0, t1, ts)):
        return False, False
    gaps = np.diff(np.concatenate([[t0], ts, [t1]]).astype(np.float64))
    if not (np.all(gaps >= 0) if t1 >= t0 else np.all(gaps <= 0)):
        raise UserError(f"{Status.unordered_times.message}, got t0={t0:g}, t1={t1:g}, ts={_short(ts)}")
    return bool(gaps[0] == 0), bool(gaps[-1] == 0)


def _array(value: Any, dtype) -> Any:
    """`value` in `dtype`: NumPy where it is known, so that it can be looked at while a program is traced."""
    return jnp.asarray(value, dtype) if isinstance(value, Tracer) else np.asarray(value, dtype)


def _time(name: str, value: Any, dtype) -> Any:
    time = _array(value, dtype)
    if time.ndim != 0:
        raise UserError(f"{name} must be one number, got shape {time.shape}: every sample shares the interval")
    if not isinstance(time, Tracer) and not np.isfinite(time):
        raise UserError(f"{name} must be finite, got {value!r}")
    return time


def _check_key(key: Any) -> None:
    dtype = getattr(key, "dtype", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    if not ((typed and key.ndim == 0) or (dtype == jnp.uint32 and key.ndim == 1)):
        got = type(key).__name__ if dtype is None else f"{dtype}{list(key.shape)}"
        raise UserError(f"key must be one JAX random key such as jax.random.key(0), got {got}")


def _short(ts) -> str:
    return np.array2string(np.asarray(ts), threshold=6, edgeitems=2)


def _check_slope(problem: Problem) -> None:
    """The field's value must be shaped like the state; said here, where the message can name it."""
    stochastic = isinstance(problem.field, SDE)
    name, field = ("drift", problem.field.drift) if stochastic else ("field", problem.field)
    field = problem.mapped(field)
    slope = eqx.filter_eval_shape(field, problem.t0, problem.y0, problem.args)
    expected = jax.eval_shape(lambda y: y, problem.y0)
    same = jax.tree.structure(slope) == jax.tree.structure(expected) and all(
        (a.shape, a.dtype) == (b.shape, b.dtype)
        for a, b in zip(jax.tree.leaves(slope), jax.tree.leaves(expected), strict=True)
    )
    if not same:
        show = lambda tree: jax.tree.map(lambda x: f"{x.dtype}{list(x.shape)}", tree)  # noqa: E731
        raise UserError(f"the {name} must return a slope like the state, {show(expected)}, got {show(slope)}")


def _raised(sol: Solution) -> Solution:
    """`sol`, or an error that says why it failed: at once where the status is known, else when the program runs."""
    worst = jnp.max(sol.status)
    if not isinstance(worst, Tracer):
        if worst != 0:
            failed = Status(int(worst))
            raise SolveError(failed, _where(sol) + failed.message)
        return sol
    messages = [status.message for status in Status]
    # A factor, not a check of y1 alone: outputs and derivatives depend on it too, so that none escapes the check.
    one = eqx.branched_error_if(jnp.ones((), jax.tree.leaves(sol.y1)[0].dtype), worst != 0, worst, messages)
    y1, ys, penalty = jax.tree.map(lambda x: one * x, (sol.y1, sol.ys, sol.penalty))
    return dataclasses.replace(sol, y1=y1, ys=ys, penalty=penalty)


def _where(sol: Solution) -> str:
    if sol.status.ndim == 0:
        return ""
    failed = np.flatnonzero(np.asarray(sol.status))
    return f"{len(failed)} of {sol.status.size} samples failed (indices {_short(failed)}); "

"""The result of a solve: states, cost and status."""

import dataclasses
import functools
from enum import IntEnum
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Int

from ..._types import Count, State, Time
from ...errors import UserError
from ...shown import as_html
from .dense import AbstractDense
from .pick import Recorded
from .spread import spread


class Status(IntEnum):
    """How a solve ended; `message` gives the cause and the fix."""

    ok = 0
    max_steps = 1
    step_underflow = 2
    non_finite = 3
    unordered_times = 4
    tolerance = 5
    ill_conditioned = 6
    implicit = 7
    reversed_noise = 8
    coarse_time = 9
    no_event = 10

    @property
    def message(self) -> str:
        """One line: what happened, and what helps."""
        return _MESSAGES[self]


_MESSAGES = {
    Status.ok: "the solve reached its end",
    Status.max_steps: "the solve used up max_steps before its end: "
    "raise max_steps, loosen rtol and atol, or look for stiffness (an implicit solver: kx.FromDiffrax)",
    Status.step_underflow: "the step size shrank below what the dtype can resolve: the solution blows up or is too "
    "stiff for this tolerance: shorten the interval, loosen rtol and atol, or use float64",
    Status.non_finite: "the vector field or the state became NaN or infinite: "
    "look at the field near the last finite state, or take smaller steps",
    Status.unordered_times: "ts must be sorted from t0 towards t1 and lie between them",
    Status.tolerance: "rtol is below eight times the epsilon of the state's dtype: loosen rtol, or use float64",
    Status.ill_conditioned: "the learned tableau has drifted to where its order conditions are ill-conditioned: "
    "lower the solver's learning rate or ask for a lower order",
    Status.implicit: "the implicit solver's inner iteration did not converge: "
    "loosen its tolerance or take smaller steps",
    Status.coarse_time: "the field depends on t, and its dtype has too few different times between t0 and t1: "
    "count time from a nearer origin, or use a finer dtype",
    Status.no_event: "no event happened before t1: solve for longer, or look at the sign of its condition, which must "
    "change in the event's direction",
    Status.reversed_noise: "an SDE is solved forward in time alone: t1 must not come before t0",
}


_USELESS = (
    Status.unordered_times,
    Status.tolerance,
    Status.ill_conditioned,
    Status.reversed_noise,
    Status.coarse_time,
)
"""Failures that make every number of a solve meaningless, not only those after the point of failure."""


class SolveError(RuntimeError):
    """A solve that did not reach t1. `status` gives the cause."""

    status: Status

    def __init__(self, status: Status, message: str):
        super().__init__(message)
        self.status = status


class Stats(eqx.Module):
    """The cost of a solve. None if not known; one number for each sample if every sample has its own steps.

    Attributes:
        nfe: Evaluations of the vector field in the forward solve; of an SDE's drift.
        accepted: Accepted steps.
        rejected: Rejected steps.
        nfe_backward: Evaluations of the field, each with its vector-Jacobian product, in a reverse pass.
        nfe_diffusion: Evaluations of an SDE's diffusion in the forward solve; None for an ODE.
    """

    nfe: Count | None
    accepted: Count | None
    rejected: Count | None
    nfe_backward: Count | None
    nfe_diffusion: Count | None = None

    def __str__(self) -> str:
        parts = {
            "NFE {}": self.nfe,
            "diffusion {}": self.nfe_diffusion,
            "{} steps accepted": self.accepted,
            "{} rejected": self.rejected,
        }
        return ", ".join(text.format(_counted(count)) for text, count in parts.items() if count is not None)

    _repr_html_ = as_html


def _counted(count: Any) -> str:
    """A count as text: where samples have their own, the mean and the range."""
    if isinstance(count, Tracer):
        return "(traced)"
    values = np.asarray(count)
    if not values.size or values.min() == values.max():
        return f"{values.flat[0] if values.size else 0}"
    return f"{values.mean():.4g} ({values.min()} to {values.max()})"


def _ended(status: Any) -> str:
    """How it ended: the worst status, with the number of samples that have one."""
    if isinstance(status, Tracer):
        return "traced"
    values = np.asarray(status)
    bad = values[values != 0]
    if not bad.size:
        return Status.ok.message
    many = f" ({bad.size} of {values.size} samples)" if values.ndim else ""
    return f"{Status(int(bad.flat[0])).name}{many}: {Status(int(bad.flat[0])).message}"


class Happened(NamedTuple):
    """The event that ended a solve: one, or one for each sample if there is a batch axis.

    Attributes:
        index: Its number among the events; -1 if none happened before t1.
        t: Its time; t1 if none happened.
    """

    index: Int[Array, "*samples"]
    t: Time

    @property
    def found(self) -> Bool[Array, "*samples"]:
        """Whether an event happened."""
        return self.index >= 0


class Solution(eqx.Module):
    """The result of `kuttax.solve`.

    Attributes:
        y1: The state at t1, shaped like y0. NaN if the solve did not reach t1.
        ys: The states at `ts`, each leaf with a leading axis of length len(ts); NaN at times the solve did not reach.
            None without `ts`.
        stats: The cost of the solve.
        status: A `Status` as an integer, one for each sample if every sample has its own steps.
        penalty: The value of the penalty, a scalar; 0 without a penalty.
        event: Which event ended the solve, and when, a `Happened`; None without `event`. y1 is then the state at that
            time, and outputs after it are NaN.
        dense: A `DenseOutput`, or diffrax's own, with `dense=True`; not for users: see `evaluate`.
        recorded: Records for penalties; not for users.
    """

    y1: State
    ys: Any
    stats: Stats
    status: Int[Array, "*samples"]
    penalty: Any = 0.0
    recorded: Recorded = Recorded()
    event: Happened | None = None
    dense: AbstractDense | None = None

    def __str__(self) -> str:
        shapes = lambda tree: ", ".join(f"{x.dtype}{list(x.shape)}" for x in jax.tree.leaves(tree))
        lines = [f"solution: {_ended(self.status)}", f"  cost: {self.stats}", f"  y1: {shapes(self.y1)}"]
        return "\n".join(lines if self.ys is None else [*lines, f"  ys: {shapes(self.ys)}"])

    _repr_html_ = as_html

    def evaluate(self, t: ArrayLike) -> State:
        """The state at any time of a solve with `dense=True`, under jit, grad and vmap too.

        It is the solver's own interpolant, for an embedded pair its dense output, else the cubic Hermite polynomial of
        the step. NaN outside of the interval that was solved.

        Args:
            t: One time; several, (times,); or, with a batch axis, a row for each sample, (samples, times).

        Returns:
            A state shaped like y0; with several times, each leaf with a leading axis for them.

        Raises:
            UserError: The solve was without `dense=True`, or t has another shape.
        """
        return self._inside().evaluate(t)

    def derivative(self, t: ArrayLike) -> State:
        """dy/dt at any time of a solve with `dense=True`: the derivative of what `evaluate` returns.

        Raises:
            UserError: The solve was without `dense=True`, or t has another shape.
        """
        return self._inside().derivative(t)

    def _inside(self) -> AbstractDense:
        if self.dense is None:
            raise UserError("this solution holds its outputs alone: give solve dense=True to evaluate it at any time")
        return self.dense


def all_finite(*trees: Any, lanes: tuple[int, ...] = (), axis: int = 0) -> Bool[Array, "*samples"]:
    """Whether all entries of trees of one structure are finite; one answer for each sample if `lanes` counts samples.

    `axis` is the sample axis of the leaves.
    """
    others = lambda x: tuple(i for i in range(x.ndim) if not lanes or i != axis)
    both = lambda *xs: functools.reduce(jnp.logical_and, map(jnp.isfinite, xs))
    leaves = [jnp.all(x, axis=others(x)) for x in jax.tree.leaves(jax.tree.map(both, *trees))]
    return functools.reduce(jnp.logical_and, leaves) if leaves else jnp.ones(lanes, bool)


def concluded(sol: Solution, dtype: Any, present: Array | None = None) -> Solution:
    """The solution for the user: in the dtype of the user's state, with a status that agrees with the returned numbers.

    `ok` means that all of them are finite. Otherwise y1, the penalty and every output that was not reached are NaN; all
    outputs are NaN if the failure makes every number meaningless. `present` says which outputs were asked for, (times,
    samples); the others are NaN.
    """
    y1, ys, penalty = jax.tree.map(lambda x: jnp.asarray(x).astype(dtype), (sol.y1, sol.ys, sol.penalty))
    lanes = sol.status.shape
    asked = ys if present is None else _outputs_where(present, ys, 0)
    status = _unless_finite(sol.status, all_finite(y1, lanes=lanes) & all_finite(asked, lanes=lanes, axis=1))
    if not isinstance(sol.penalty, float):  # there is a penalty; it is over all samples
        together = jnp.all(status == int(Status.ok))
        status = _unless_finite(status, jnp.all(jnp.isfinite(penalty)) | ~together)
        penalty = jnp.where(jnp.all(status == int(Status.ok)), penalty, jnp.nan)
    reached = status == int(Status.ok)
    y1 = jax.tree.map(lambda x: jnp.where(spread(reached, x), x, jnp.nan), y1)
    if ys is not None:
        useless = functools.reduce(jnp.logical_or, [status == int(x) for x in _USELESS])
        meant = ~useless if useless.ndim == 0 else (~useless)[None]
        meant = meant if present is None else present & jnp.broadcast_to(meant, present.shape)
        ys = _outputs_where(meant, ys, jnp.nan)
    return dataclasses.replace(sol, y1=y1, ys=ys, penalty=penalty, status=status)


def _outputs_where(meant: Array, ys: State, otherwise: float) -> State:
    """The outputs where `meant`, (times, *samples), holds, and `otherwise` elsewhere."""

    def output(x: Array) -> Array:
        mask = meant if meant.ndim == 0 else jnp.broadcast_to(spread(meant, x), x.shape)
        return jnp.where(mask, x, otherwise)

    return jax.tree.map(output, ys)


def _unless_finite(status: Array, finite: Array) -> Array:
    """`status`, or the status for non-finite numbers if it is `ok` and they are not finite."""
    failed = jnp.asarray(int(Status.non_finite), status.dtype)
    return jnp.where((status == int(Status.ok)) & ~finite, failed, status)


def raise_for_status(outcome: Solution | Array) -> None:
    """Raise the error of a failed solve: for solves with `throw=False`, once their numbers are known.

    `kuttax.solve(..., throw=True)` inside a compiled function needs a callback to Python, which `jax.export` and JAX's
    compilation cache refuse. There, solve with `throw=False`, return the status, and call this on it.

    Args:
        outcome: A solution, or its status.

    Raises:
        SolveError: At least one status is not `ok`.
        UserError: The call is inside a compiled function, where the status is not known yet, or `outcome` is neither.
    """
    status = outcome.status if isinstance(outcome, Solution) else outcome
    if isinstance(status, Tracer):
        raise UserError("raise_for_status needs a status that is known: call it on what the compiled function returned")
    statuses = np.asarray(status)
    if not np.issubdtype(statuses.dtype, np.integer):
        raise UserError(f"raise_for_status takes a solution or its status, got {type(outcome).__name__}")
    if np.any(statuses):
        failed = Status(int(statuses.max()))
        raise SolveError(failed, _where(statuses) + failed.message)


def _where(statuses: np.ndarray) -> str:
    if statuses.ndim == 0:
        return ""
    failed = np.flatnonzero(statuses)
    shown = np.array2string(failed, threshold=6, edgeitems=2)
    return f"{len(failed)} of {statuses.size} samples failed (indices {shown}); "

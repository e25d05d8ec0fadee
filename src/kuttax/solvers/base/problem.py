"""Problem: an initial value problem as solvers see it."""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._types import State, VectorField
from .axes import in_axes
from .fields.traced import TracedField
from .memory import Memory
from .pick import Pick
from .times.clock import Clock
from .times.nodes import Nodes, traced_nodes

Derivative = Literal["none", "forward", "default"] | Memory
"""How a run is differentiated: not at all, in both modes by JAX's own rules, or in reverse mode with stored values, by
default those that the program suits."""


Unroll = Literal["none", "stages", "all"]
"""What the program of a solve with fixed steps has written out: nothing, with loops over steps and stages; the stages
of a step, with a loop over steps; or all steps."""

_WRITTEN_OUT = 1000  # operations of all stages of a step together
_FEW_EVALUATIONS = 16


def everything(y: State) -> State:
    """The whole state: all of it counts in the error norm."""
    return y


class Problem(eqx.Module):
    """An initial value problem dy/dt = field(t, y, args), y(t0) = y0, as solvers see it.

    Attributes:
        field: The vector field in the user's time, or an `SDE`, written for one sample if `batched`.
        y0: The initial state; if `batched`, every leaf has a leading sample axis.
        t0, t1: Of the state's dtype, in either order, counted from the start of the solve: t0 is zero, with the
            derivative of the user's t0. Scalars, or, for a solver that takes "own times", one number for each sample.
        ts: Times to save at, counted from the start too, sorted from t0 to t1, (times,); or None. For a solver that
            takes "own times" there may be a column for each sample, (times, samples), which may end in NaN.
        args: Passed to the field.
        args_axes: If `batched`, which of the args have a sample axis (as in `jax.vmap`).
        batched: Whether the leading axis of y counts samples.
        jumps: The times at which steps must end, because the field jumps there, counted from the start too and sorted
            from t0 on, (jumps, *samples); or None. Jumps outside of the interval change nothing.
        max_steps: The largest number of steps that an adaptive solve may try.
        measured: Picks the part of a state that counts in the error norm.
        costs: The costs of every accepted step, summed over the steps; only for solvers whose `observable` has "costs".
            Each is a function of the step (`Step` or `EstimatedStep`). Their arrays are leaves.
        picks: The states to record during the solve.
        saves_start, saves_end: Whether ts is known, at trace time, to begin at t0 and to end at t1.
        key: Draws the noise of an `SDE`.
        computed_in: The name of the dtype that the field computes in, if it is narrower than that of the state here.
        clock: Turns elapsed time into the time that the field receives.
        jumps_at_outputs: Whether the jumps are known, at trace time, to be at the times in ts.
        events: The events that end the solve, each an `Event`.
        dense: Whether the solution holds its dense output.
        unroll: What is written out in the program of a solve with fixed steps; None: as the field requires.
        known_nodes: The nodes of a solve with a given number of steps, if there are jumps and all times are known.
    """

    field: Any
    y0: State
    t0: Any
    t1: Any
    ts: Any = None
    args: Any = None
    batched: bool = eqx.field(static=True, default=False)
    max_steps: int = eqx.field(static=True, default=4096)
    measured: Callable[[Any], Any] = eqx.field(static=True, default=everything)
    costs: tuple[Callable[[Any], Array], ...] = ()
    picks: tuple[Pick, ...] = ()
    args_axes: Any = eqx.field(static=True, default=None)
    saves_start: bool = eqx.field(static=True, default=False)
    saves_end: bool = eqx.field(static=True, default=False)
    key: Any = None
    computed_in: str | None = eqx.field(static=True, default=None)
    jumps: Any = None
    clock: Clock = Clock(0)
    jumps_at_outputs: bool = eqx.field(static=True, default=False)
    known_nodes: Nodes | None = None
    events: tuple[Any, ...] = ()
    dense: bool = eqx.field(static=True, default=False)
    unroll: Unroll | None = eqx.field(static=True, default=None)

    @property
    def precision(self) -> Any:
        """The dtype that the field computes in: no error can be smaller than its rounding."""
        return jnp.dtype(self.computed_in or self.t0.dtype)

    def vector_field(self, step_start: Any = None) -> VectorField:
        """The field on the whole state, as a function of elapsed time: a scalar, or one number for each sample.

        Args:
            step_start: The start of the step that evaluates it, if there are `jumps`: a stage at the end of the step
                then reads the field as it is before a jump there. None: every evaluation reads it as it is after.
        """
        return self.mapped(self.field, step_start)

    def mapped(self, function: VectorField, step_start: Any = None) -> VectorField:
        """A function of (t, y, args), written like the field, as `vector_field` evaluates that."""
        read, whole = self.clock.read, self.on_samples(function)
        return lambda t, y, args: whole(read(t, step_start), y, args)

    def on_samples(self, function: VectorField) -> VectorField:
        """A function of (t, y, args), written for the same samples as the field, on the whole state; t as it is."""
        if not self.batched:
            return function
        plain = lambda t, y, args: function(t, y, args)  # JAX prints the function it maps, even a whole model

        def whole(t, y, args):
            return jax.vmap(plain, in_axes=(0 if jnp.ndim(t) else None, 0, in_axes(self.args_axes)))(t, y, args)

        return whole

    def unrolled(self, steps: int, stages: int) -> Unroll:
        """What to write out in the program of a solve with so many steps on its interval, each of so many stages.

        Stages written out are as fast as a loop or faster, but compilation takes time in proportion to them and to the
        field. XLA convolves on a CPU, and keeps intermediate values for a reverse pass, much faster outside of loops.
        """
        several = self.ts is not None or self.jumps is not None  # intervals: a loop in any case
        if self.unroll is not None:
            return "stages" if self.unroll == "all" and several else self.unroll
        few = steps * stages <= _FEW_EVALUATIONS
        convolves = isinstance(self.field, TracedField) and self.field.convolves
        if convolves and few and not several and jax.default_backend() == "cpu":
            return "all"
        return "stages" if stages * self.operations <= _WRITTEN_OUT else "none"

    @property
    def operations(self) -> int:
        """The number of operations of one evaluation of the field; a few if it is not known."""
        return self.field.operations if isinstance(self.field, TracedField) else 16

    @property
    def own_times(self) -> bool:
        """Whether any of the samples has times of its own."""
        return any(jnp.ndim(x) > least for x, least in ((self.t0, 0), (self.ts, 1), (self.jumps, 1)) if x is not None)

    def next_node(self, t: Any) -> Any:
        """The time at which a step from t must end at the latest: the first jump after t, or t1."""
        if self.jumps is None:
            return self.t1
        following = self.clock.jump(self.jumps, self.clock.passed(t))
        earlier = jnp.where(self.clock.forward, following < self.t1, following > self.t1)
        return jnp.where(earlier, following, self.t1)

    def nodes(self) -> Nodes:
        """The ends of the intervals of a solve with a given number of steps, if there are jumps."""
        if self.known_nodes is not None:
            return self.known_nodes
        return traced_nodes(self.ts, self.jumps, self.t1)

    @property
    def direction(self) -> Array:
        """1 forward in time (or if t0 = t1), -1 backward, in the dtype of time."""
        return jnp.where(self.t1 >= self.t0, 1, -1).astype(self.t0.dtype)

    @property
    def samples(self) -> Any:
        """The number of samples, if `batched`: an int, or a symbol where a program is exported for any number."""
        return jax.tree.leaves(self.y0)[0].shape[0]

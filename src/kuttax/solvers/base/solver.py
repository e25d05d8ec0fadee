"""AbstractSolver: what `solve` asks of a solver, and the problem that it hands over."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._types import State, VectorField
from ..rk.step import Step
from .estimated import EstimatedStep
from .memory import Memory
from .pick import Pick
from .solution import Solution

Derivative = Literal["none", "forward"] | Memory
"""How a run is differentiated: not at all, in either mode by its own rules, or in reverse, from a memory."""


def everything(y: State) -> State:
    """The whole state counts in the error norm."""
    return y


class Problem(eqx.Module):
    """An initial value problem dy/dt = field(t, y, args), y(t0) = y0, as solvers see it.

    Attributes:
        field: The vector field, or an `SDE`, written for one sample where `batched`.
        y0: The initial state; where `batched`, every leaf has a leading sample axis.
        t0, t1: Scalars of the state's dtype, in either order, counted from where the solve starts: t0 is zero, with the
            derivative of the user's t0.
        ts: Times to save at, counted likewise, sorted from t0 to t1, or None.
        args: Handed to the field.
        args_axes: Where `batched`, which of the args have an axis that counts samples (as in `jax.vmap`).
        batched: Whether the leading axis of y counts samples.
        max_steps: The most steps that an adaptive solve may try.
        measured: Picks the part of a state that counts in the error norm.
        costs: What every accepted step is charged with, summed over the steps; adaptive solvers only. Their arrays
            are leaves.
        picks: The states to look at on the way.
        saves_start, saves_end: Whether ts is known, before the program runs, to begin at t0 and to end at t1.
        key: Draws the noise, where the field is an `SDE`.
        computed_in: The name of the dtype that the field computes in, where it is narrower than that of the state here.
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
    costs: tuple[Callable[[Step | EstimatedStep], Array], ...] = ()
    picks: tuple[Pick, ...] = ()
    args_axes: Any = eqx.field(static=True, default=None)
    saves_start: bool = eqx.field(static=True, default=False)
    saves_end: bool = eqx.field(static=True, default=False)
    key: Any = None
    computed_in: str | None = eqx.field(static=True, default=None)

    @property
    def precision(self) -> Any:
        """The dtype that the field computes in: no error can be smaller than its rounding."""
        return jnp.dtype(self.computed_in or self.t0.dtype)

    def vector_field(self, *, per_sample: bool = False) -> VectorField:
        """The field on the whole state; with `per_sample` its time has one entry a sample."""
        return self.mapped(self.field, per_sample=per_sample)

    def mapped(self, function: VectorField, *, per_sample: bool = False) -> VectorField:
        """A function of (t, y, args) that is written as the field is, on the whole state."""
        if not self.batched:
            return function
        plain = lambda t, y, args: function(t, y, args)  # JAX prints what it maps, a whole model too
        return jax.vmap(plain, in_axes=(0 if per_sample else None, 0, self.args_axes))

    @property
    def direction(self) -> Array:
        """1 forward in time (or standing still), -1 backward, in the dtype of time."""
        return jnp.where(self.t1 >= self.t0, 1, -1).astype(self.t0.dtype)

    @property
    def samples(self) -> int:
        """The number of samples, where `batched`."""
        return jax.tree.leaves(self.y0)[0].shape[0]


def title(solver: "AbstractSolver") -> str:
    """The first line of a solver's printed form: what tables and messages call it."""
    return str(solver).splitlines()[0]


class AbstractSolver(eqx.Module):
    """A numerical method together with its step sizes: a pytree whose array leaves are numbers, never shapes."""

    @abstractmethod
    def run(self, problem: Problem, derivative: Derivative) -> Solution:
        """Solve `problem` so that the result can be differentiated as `derivative` says."""

    @abstractmethod
    def check(self, problem: Problem) -> None:
        """Look at what is known before the program runs.

        Raises:
            UserError: This solver cannot solve this problem.
        """

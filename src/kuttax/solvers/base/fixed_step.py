"""AbstractFixedStepSolver: base class of methods with equal steps; a subclass writes one step."""

import dataclasses
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._types import State, Time
from ...errors import UserError
from ...kinds import checked_count
from .grid import AbstractGridSolver, GridState, solution_of, through_times
from .memory import remembering
from .pick import Picked, Recorded
from .problem import Derivative, Problem
from .solution import Solution
from .solver import Feature, Refined

Slope = Callable[[Time, State], State]
"""The vector field (t, y) -> dy/dt on the whole state."""


class AbstractFixedStepSolver(AbstractGridSolver):
    """An explicit method with `steps` equal steps, one-step or multistep.

    A subclass names its order and its evaluations a step, and writes `step`; a multistep method also writes `start`.
    The solver then works under every adjoint, in penalties, certificates, step control and training. With the decorator
    `kx.register_solver()`, it can be saved.

        @kx.register_solver()
        class Heun(kx.AbstractFixedStepSolver):
            steps: int = equinox.field(static=True)

            order = 2
            stages = 2

            def step(self, f, t, y, h, memory):
                k1 = f(t, y)
                k2 = f(t + h, jax.tree.map(lambda y, k1: y + h * k1, y, k1))
                y1 = jax.tree.map(lambda y, k1, k2: y + h / 2 * (k1 + k2), y, k1, k2)
                return y1, memory

    The state may be any pytree (`BacksolveAdjoint` and densities solve several arrays together), so use `jax.tree.map`.

    With `ts`, the solver takes `steps` steps in each interval of t0, *ts, t1, and calls `start` in each.
    """

    @property
    @abstractmethod
    def order(self) -> int:
        """The order of the method."""

    @property
    @abstractmethod
    def stages(self) -> int:
        """Evaluations of the field in one step."""

    @property
    def start_evaluations(self) -> int:
        """Evaluations of the field in `start`."""
        return 0

    def start(self, f: Slope, t: Time, y: State, h: Time) -> Any:
        """The memory that the first step needs, such as earlier slopes; None for a one-step method.

        Args:
            f: The vector field (t, y) -> dy/dt on the whole state.
            t, y, h: The start of the interval, the state there, and the step size, with its sign.
        """
        del f, t, y, h

    @abstractmethod
    def step(self, f: Slope, t: Time, y: State, h: Time, memory: Any) -> tuple[State, Any]:
        """One step of size h from y at t.

        Args:
            f, t, y, h: As for `start`.
            memory: The result of `start`, or of the step before; always of the same structure, shapes and dtypes.

        Returns:
            The state at t + h, shaped like y, and the memory for the next step.
        """

    def check(self, problem: Problem) -> None:
        checked_count("steps", self.steps)

    def takes(self) -> frozenset[Feature]:
        return frozenset(("jumps",))

    def with_steps(self, steps: int) -> "AbstractFixedStepSolver":
        return dataclasses.replace(self, steps=checked_count("steps", steps))

    def refined(self, times: int, dtype: Any) -> Refined:
        del dtype
        return Refined(self.with_steps(times * self.steps))

    def convergence_order(self) -> float:
        return self.order

    def evaluations_per_interval(self) -> int:
        return self.start_evaluations + self.stages * self.steps

    def own_step(self, f: Slope, start: Picked) -> tuple[State, Any]:
        """The step again, from a fresh `start`: the memory of a multistep method is not kept."""
        memory = self.start(f, start.t, start.y, start.h)
        return _pair(self, self.step(f, start.t, start.y, start.h, memory))[0], start.h

    def run(self, problem: Problem, derivative: Derivative) -> Solution:
        def cross(at: GridState, t0: Array, t1: Array) -> tuple[GridState, None]:
            field = problem.vector_field(t0)
            f = lambda t, y: field(t, y, problem.args)
            h = (t1 - t0) / self.steps

            def step(carry, n):
                at, memory = carry
                t = t0 + n * h
                y, memory = _pair(self, self.step(f, t, at.y, h, memory))
                return (at.on(y, t, h), memory), None

            if derivative not in ("none", "forward"):
                step = remembering(step, derivative, at.y)
            carry = (at, self.start(f, t0, at.y, h))
            return jax.lax.scan(step, carry, jnp.arange(self.steps, dtype=h.dtype))[0][0], None

        begins = lambda t0, t1: t0 + (t1 - t0) / self.steps * jnp.arange(self.steps, dtype=t0.dtype)
        end, ys, intervals, _ = through_times(cross, GridState.begin(problem, begins), problem)
        nfe = intervals * self.evaluations_per_interval()
        sol = solution_of(problem, jnp.asarray(True), end.y, ys, nfe, intervals * self.steps)
        return dataclasses.replace(sol, recorded=Recorded((), end.picked))


def _pair(solver: AbstractFixedStepSolver, found: Any) -> tuple[State, Any]:
    """What `step` returned.

    Raises:
        UserError: It is not a state and a memory.
    """
    if not isinstance(found, tuple) or len(found) != 2:
        raise UserError(f"{type(solver).__name__}.step must return (state, memory); memory may be None")
    return found

"""AbstractSolver: the interface of solvers, and the problem that they receive."""

import dataclasses
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._types import State, VectorField
from ...errors import UserError
from .clock import Clock
from .memory import Memory
from .nodes import Nodes, traced_nodes
from .pick import Pick, Picked
from .solution import Solution

Derivative = Literal["none", "forward"] | Memory
"""How a run is differentiated: not at all, in both modes by JAX's own rules, or in reverse mode with stored values."""


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
            return jax.vmap(plain, in_axes=(0 if jnp.ndim(t) else None, 0, self.args_axes))(t, y, args)

        return whole

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
    def samples(self) -> int:
        """The number of samples, if `batched`."""
        return jax.tree.leaves(self.y0)[0].shape[0]


def title(solver: "AbstractSolver") -> str:
    """The first line of a solver's printed form: its name in tables and messages."""
    return str(solver).splitlines()[0]


Calculus = Literal["ito", "stratonovich"]
Feature = Literal["own times", "jumps", "events", "dense"]
"""What some solvers take beside a plain problem: times of each sample's own, jumps of the field, events, and the wish
for dense output."""

Observable = Literal["times", "steps", "costs"]
"""What penalties can observe of a solve: its state at a given time; the start of one of its own steps; a cost of every
accepted step."""


class Scale(NamedTuple):
    """How the error of one step is measured.

    Attributes:
        tableau: The solver's own embedded pair; None if it has none.
        rtol, atol: Its tolerances; None if it has none.
        per_sample: Whether every sample has its own steps, and so its own error.
    """

    tableau: Any = None
    rtol: Any = None
    atol: Any = None
    per_sample: bool = False


class Refined(NamedTuple):
    """A solver with smaller steps, and a note for the user; the solver is None where the dtype allows nothing finer."""

    solver: "AbstractSolver | None"
    note: str = ""


class AbstractSolver(eqx.Module):
    """A numerical method together with its step sizes: a pytree whose array leaves are numbers, never shapes.

    `solve` needs only `run` and `check`. Every other method is one ability, which some part of the library needs:
    certificates, step control, penalties, files, training. A default either says "no" or raises a `UserError` that
    names the method to write, so a custom solver needs only the methods that its user calls for. `AbstractGridSolver`
    has them all for methods with equal steps.

    Attributes:
        solves_sdes: Whether the field may be an `SDE`.
        learned: Whether training changes the solver's arrays.
    """

    solves_sdes: ClassVar[bool] = False
    learned: ClassVar[bool] = False

    @abstractmethod
    def run(self, problem: Problem, derivative: Derivative) -> Solution:
        """Solve `problem` so that the result can be differentiated in the way `derivative` names."""

    @abstractmethod
    def check(self, problem: Problem) -> None:
        """Check all that is known at trace time.

        Raises:
            UserError: This solver cannot solve this problem.
        """

    def takes(self) -> frozenset[Feature]:
        """What it takes beside a plain problem; `solve` refuses the rest."""
        return frozenset()

    # Resolution of an interval

    def number_of_steps(self) -> int:
        """The number of steps on one interval.

        Raises:
            UserError: It has no number of steps that can be set.
        """
        raise UserError(
            f"{title(self)} has no number of steps that can be controlled: use FixedSteps or LearnedRK, control its "
            f"tolerance (ToleranceControl), or {_write(self, 'number_of_steps')}"
        )

    def with_steps(self, steps: int) -> "AbstractSolver":
        """The same scheme with another number of steps on one interval.

        Raises:
            UserError: It has no number of steps, its coefficients belong to its own number of steps, or `steps` is not
                a whole number of at least 1.
        """
        self.number_of_steps()
        raise UserError(f"{title(self)} cannot be given {steps} steps: {_write(self, 'with_steps')}")

    @property
    def chooses_steps(self) -> bool:
        """Whether it chooses its steps by a tolerance."""
        return False

    def tolerance(self) -> float:
        """The relative tolerance.

        Raises:
            UserError: It has none.
        """
        raise UserError(
            f"{title(self)} has no tolerance to control: use Adaptive, control its number of steps (StepControl), "
            f"or {_write(self, 'tolerance')}"
        )

    def with_tolerance(self, rtol: float) -> "AbstractSolver":
        """The same solver at another relative tolerance; the absolute one changes by the same factor.

        Raises:
            UserError: It has no tolerance, or this one is not a number above zero.
        """
        self.tolerance()
        raise UserError(f"{title(self)} cannot be given rtol={rtol:g}: {_write(self, 'with_tolerance')}")

    def refined(self, times: int, dtype: Any) -> Refined:
        """The same scheme with `times` as many steps; with a tolerance, at a tenth (times=2) or a hundredth (4) of it.

        Args:
            times: 2 or 4.
            dtype: The dtype that the model computes in; it limits how small the relative tolerance can be.

        Raises:
            UserError: The solver cannot be refined.
        """
        del times, dtype
        raise UserError(
            f"{type(self).__name__} cannot be refined, so nothing can be certified: {_write(self, 'refined')}"
        )

    def tightened(self, factor: float, dtype: Any) -> Refined:
        """The same solver with both tolerances divided by `factor`, within the limit of the dtype for the relative one.

        Raises:
            UserError: It has no tolerance.
        """
        del factor, dtype
        self.tolerance()
        raise UserError(f"{title(self)} cannot be given a tighter tolerance: {_write(self, 'tightened')}")

    def convergence_order(self) -> float | None:
        """The order p: the error shrinks as h^p; of an SDE solver the strong order; None if not known."""
        return None

    def known_order(self) -> float:
        """`convergence_order`, if it is known.

        Raises:
            UserError: It is not known.
        """
        order = self.convergence_order()
        if order is None:
            how = _write(self, "convergence_order")
            raise UserError(f"the order of {title(self)} is not known: use FixedSteps or LearnedRK, or {how}")
        return order

    def evaluations_per_interval(self) -> int | None:
        """Evaluations of the field, or of an SDE's drift with diagonal noise, on one interval; None if not known."""
        return None

    def with_joint_steps(self) -> "AbstractSolver":
        """The same solver, with one step size for all samples."""
        return self

    # What penalties see

    def observable(self, *, sde: bool = False) -> frozenset[Observable]:
        """What penalties can observe of a solve of an ODE, or of an SDE."""
        del sde
        return frozenset()

    def scale(self) -> Scale:
        """How the error of one of its steps is measured."""
        return Scale()

    def own_step(self, f: Callable[[Any, State], State], start: Picked) -> tuple[State, Any]:
        """Repeat the step that a solve took at `start`, from its state, time and size.

        Args:
            f: The vector field (t, y) -> dy/dt on the whole state.
            start: The state, time, size and number of the step.

        Returns:
            The state at the end of the step, and the size of the step. Both carry derivatives with respect to learned
            parameters.

            Raises:
            UserError: Its steps cannot be repeated.
        """
        del f, start
        raise UserError(f"the steps of {title(self)} cannot be taken again: {_write(self, 'own_step')}")

    # Stochastic differential equations

    def sde_calculi(self) -> tuple[Calculus, ...]:
        """The calculi of the SDEs that it solves; empty for a solver of ODEs."""
        return ()

    def sde_estimator(self) -> Any:
        """The diffrax solver that estimates the error of one of its steps of an SDE; None if there is none."""
        return None

    def keeps_path(self) -> bool:
        """Whether it solves SDEs, and follows the same Brownian path with smaller steps."""
        return False

    def path_cells(self) -> int | None:
        """The number of cells of its Brownian path on one interval; None if it has no grid of cells."""
        return None

    def on_cells(self, cells: int) -> "AbstractSolver":
        """The same scheme with the same steps on a path of `cells` cells an interval; itself if it has no grid."""
        del cells
        return self

    # Learning

    def classical_tableau(self) -> Any:
        """The `Tableau` of its steps, all of one size; None if it has none."""
        return None

    def for_interval(self, t0: float, t1: float) -> "AbstractSolver":
        """The same solver; a learned one is marked as trained on the interval (t0, t1)."""
        del t0, t1
        return self

    # Files

    def to_data(self) -> dict[str, Any]:
        """The data from which `from_data` rebuilds this solver, in types that JSON can hold; see `register_solver`.

        Default: its fields, if these are numbers, strings, booleans or None.

        Raises:
            UserError: The solver cannot be saved.
        """
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name, value in data.items():
            if not isinstance(value, int | float | str | None):
                raise UserError(f"a {type(self).__name__} cannot be saved for its {name}: {_write(self, 'to_data')}")
        return data

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "AbstractSolver":
        """The solver that `to_data` wrote; the default passes the data as its fields.

        Raises:
            UserError, ValueError: The data are not those of such a solver.
        """
        return cls(**{field.name: data[field.name] for field in dataclasses.fields(cls)})


def _write(solver: AbstractSolver, method: str) -> str:
    """A message that says how to give a custom solver an ability."""
    return f"give {type(solver).__name__} a method {method}"

"""AbstractSolver: what `solve` and the rest of the library ask of a solver."""

import dataclasses
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple

import equinox as eqx

from ..._types import State
from ...errors import UserError
from ...kinds import check_kind
from ...shown import as_html
from .pick import Picked
from .problem import Derivative, Problem
from .solution import Solution


def title(solver: "AbstractSolver") -> str:
    """The first line of a solver's printed form: its name in tables and messages."""
    return str(solver).splitlines()[0]


def check_solver(solver: Any, name: str = "solver") -> None:
    """Refuse what is no solver.

    Args:
        solver: What was given.
        name: The argument's name.

    Raises:
        UserError: It is none.
    """
    check_kind(name, solver, AbstractSolver, "a solver such as kx.FixedSteps(kx.tableaus.RK4, steps=8)")


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

    _repr_html_ = as_html

    def __repr__(self) -> str:
        """The title, if the solver has a text of its own: in lists and in error messages it takes one line."""
        return super().__repr__() if type(self).__str__ is object.__str__ else title(self)

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
    def consistent(self) -> bool:
        """Whether its result approaches the solution as its steps get smaller."""
        return True

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

    def with_own_steps(self) -> "AbstractSolver":
        """The same solver, with a step size for each sample, if it can choose one for each."""
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

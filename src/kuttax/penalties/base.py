"""AbstractPenalty: the interface between `solve` and a penalty."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
from jaxtyping import Array

from .._types import State, Time, VectorField
from ..errors import UserError
from ..kinds import named_class
from ..solvers.base.numbers import number
from ..solvers.base.pick import Pick, Picked
from ..solvers.base.problem import Problem
from ..solvers.base.solver import AbstractSolver
from ..solvers.rk.step import EstimatedStep, Step


class Integrand(eqx.Module):
    """A rate that the solver integrates along the solution, in its own steps; the error norm leaves it out.

    Attributes:
        rate: rate(field, t, y, dy, args, noise) -> scalar, for the state that the field sees (of one sample, if `solve`
            has a `batch_axis`), with dy = field(t, y, args).
        noise: Shaped like y0, constant during the solve; or None.
    """

    rate: Callable[[VectorField, Any, State, State, Any, Any], Array]
    noise: Any = None


class Request(NamedTuple):
    """What a penalty needs from a solve; each field is optional.

    Attributes:
        cost: The cost of every accepted step: a module, or a method of one, whose leaves are all the arrays that it
            depends on. A function must not close over traced arrays.
        integrand: The rate to integrate.
        pick: A state to record.
        otherwise: The penalty's replacement for an adjoint that does not differentiate the steps themselves, if the
            gradient of the cost or the pick goes through them; None if any adjoint works.
    """

    cost: Callable[[Step | EstimatedStep], Time] | None = None
    integrand: Integrand | None = None
    pick: Pick | None = None
    otherwise: str | None = None


class Observation(NamedTuple):
    """The records of a solve for a penalty; each is None if the penalty did not request it.

    Attributes:
        problem, solver: The problem and its solver.
        cost: The sum of the costs, a scalar, or one for each sample under per-sample control.
        integral: A scalar, or one for each sample if `solve` has a `batch_axis`.
        picked: The picked state.
        key: The penalty's own key, the same as in its request.
    """

    problem: Problem
    solver: AbstractSolver
    cost: Time | None
    integral: Array | None
    picked: Picked | None
    key: Any


class AbstractPenalty(eqx.Module):
    """Keeps a field cheap to integrate: one number for each solve, to be added to the loss.

    Penalties add and scale: `0.5 * LocalError() + Kinetic()`.

    Attributes:
        of_sdes: Whether it also works for SDEs.
    """

    of_sdes: ClassVar[bool] = False

    @abstractmethod
    def request(self, problem: Problem, solver: AbstractSolver, key: Any) -> Request:
        """What this penalty needs from the solve.

        Raises:
            UserError: This problem or solver cannot provide it, or a key is needed.
        """

    @abstractmethod
    def value(self, seen: Observation) -> Array:
        """The penalty, a scalar."""

    def at(self, step: Any) -> "AbstractPenalty":
        """The penalty at a training step: always the same. `Scheduled` changes its weight."""
        return self

    def __add__(self, other: "AbstractPenalty | Penalties") -> "Penalties":
        return Penalties(terms_of(self) + terms_of(other))

    def __mul__(self, weight: Any) -> "Penalties":
        return Penalties(((weight, self),))

    __rmul__ = __mul__


class AbstractEnding(AbstractPenalty):
    """A penalty that changes the end time of the solve, before the requests of all penalties."""

    @abstractmethod
    def end(self, problem: Problem, key: Any) -> Time:
        """The new end time.

        Raises:
            UserError: The end of this problem cannot be moved, or a key is needed.
        """


def _weighted(terms: Any) -> tuple[tuple[Any, AbstractPenalty], ...]:
    """The terms, with their weights as array leaves, so that changing one never recompiles."""
    return tuple((_weight(weight), penalty) for weight, penalty in terms)


_weight = number("weight", 0.0)


class Penalties(eqx.Module):
    """A weighted sum of penalties. A weight may be traced, such as a schedule's value.

    Raises:
        UserError: A weight is not a number of at least zero.
    """

    terms: tuple[tuple[Any, AbstractPenalty], ...] = eqx.field(converter=_weighted)

    def at(self, step: Any) -> "Penalties":
        """The penalties at a training step: always the same. `Scheduled` changes their weight."""
        return self

    def __add__(self, other: "AbstractPenalty | Penalties") -> "Penalties":
        return Penalties(self.terms + terms_of(other))

    def __mul__(self, weight: Any) -> "Penalties":
        # Multiply known weights as Python numbers: these have no dtype that could disagree with a traced one.
        plain = lambda x: x if isinstance(x, jax.Array) else float(x)
        factor = plain(_weight(weight))
        return Penalties(tuple((factor * plain(own), penalty) for own, penalty in self.terms))

    __rmul__ = __mul__


@runtime_checkable
class InTraining(Protocol):
    """What training can add to its loss: a penalty, or one whose weight changes, such as `Scheduled`."""

    def at(self, step: Any) -> Any:
        """The penalty at a training step."""
        ...


def terms_of(penalty: Any) -> tuple[tuple[Any, AbstractPenalty], ...]:
    """The weights and penalties of a sum, or of a single penalty.

    Raises:
        UserError: `penalty` is neither.
    """
    if isinstance(penalty, Penalties):
        return penalty.terms
    if isinstance(penalty, AbstractPenalty):
        return ((_weight(1.0), penalty),)
    if isinstance(penalty, type):
        got = named_class(penalty)
    else:
        got = type(penalty).__name__
        got += ": take its value at a training step, .at(step)" if isinstance(penalty, InTraining) else ""
    raise UserError(f"penalty must be a kuttax penalty such as kx.LocalError(), got {got}")


def needs_key(penalty: AbstractPenalty, key: Any) -> Any:
    """`key`, if there is one.

    Raises:
        UserError: There is no key.
    """
    if key is None:
        raise UserError(f"{type(penalty).__name__} draws at random: give solve a key, e.g. key=jax.random.key(0)")
    return key

"""Abilities of a task beside training and prediction: one protocol for each, tested with `isinstance`."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

from jaxtyping import Array, PyTree

from ..growth import GrowthRates
from ..kinds import check_kind
from ..penalties.base import AbstractPenalty, Penalties
from ..solvers.base.solver import AbstractSolver, Calculus
from .base import Trajectories

LossOption = Literal["penalty", "progress"]


@runtime_checkable
class Trains(Protocol):
    """The least that an object needs to pass for a task."""

    def loss(self, *args: Any, **options: Any) -> Any: ...
    def predict(self, *args: Any, **options: Any) -> Any: ...


def check_task(task: Any) -> None:
    """Refuse what is no task.

    Raises:
        UserError: It is none.
    """
    check_kind("task", task, Trains, "one such as kx.tasks.build('digits') (docs/own_task.md)")


@runtime_checkable
class HasLossOptions(Protocol):
    """Its loss has further parameters, each with a default.

    "penalty": penalties, or None; pass them to the solve, with a key, and add the solution's `penalty`.
    "progress": the share of training that is done, a scalar from 0 to 1; for a loss that changes during training.
    """

    @property
    def loss_options(self) -> Collection[LossOption]: ...


@runtime_checkable
class HasSummary(Protocol):
    """It says in a line what a user's data were understood as; empty if there is nothing to say."""

    @property
    def summary(self) -> str: ...


@runtime_checkable
class HasCalculus(Protocol):
    """Its models are SDEs in this calculus; None if they are ODEs."""

    @property
    def calculus(self) -> Calculus | None: ...


@runtime_checkable
class HasReference(Protocol):
    """It names a solver to compare with the model's own; None for Tsit5 at 1e-6."""

    @property
    def reference(self) -> AbstractSolver | None: ...


@runtime_checkable
class HasConsistency(Protocol):
    """It names the penalty, weighted for this loss, that `kx.fit` trains with; None for none."""

    @property
    def consistency(self) -> AbstractPenalty | Penalties | None: ...


@runtime_checkable
class HasWarmUpPenalty(Protocol):
    """It names the penalty of `kx.fit`'s warm-up."""

    def warm_up_penalty(self, steps: int) -> AbstractPenalty | Penalties:
        """The penalty on the error of one of `steps` steps, weighted for this loss."""
        ...


@runtime_checkable
class HasIntervals(Protocol):
    """One solve has output times, with this many intervals between them; a solver takes all its steps in each."""

    @property
    def intervals(self) -> int: ...


@runtime_checkable
class HasTrajectories(Protocol):
    """It gives the initial value problems that a model solves, so that a solver can be distilled for it."""

    def trajectories(self, model: Any, batch: PyTree[Array]) -> Trajectories: ...


@runtime_checkable
class HasGrowth(Protocol):
    """It gives the growth rates of its models' fields, for certificates."""

    def growth(self, model: Any, solver: AbstractSolver, batch: PyTree[Array]) -> GrowthRates:
        """The growth rates along the solutions from a batch's states, as this solver computes them."""
        ...


@runtime_checkable
class HasProgram(Protocol):
    """Its models can be exported as a program (`kuttax.export.to_stablehlo`)."""

    def program(self, model: Any, solver: AbstractSolver) -> tuple[Callable[..., Any], Any]:
        """The model as a function of an array of samples, and an example of such an array."""
        ...


@runtime_checkable
class HasForecast(Protocol):
    """It measures the quality of long forecasts (`kuttax.tasks.dynamics.forecast`)."""

    def forecast(self, model: Any, solver: AbstractSolver) -> Mapping[str, Any]: ...


@runtime_checkable
class HasPortrait(Protocol):
    """It gives plots of a density in the plane; None if there is none (`kuttax.tasks.density.portrait`)."""

    def portrait(self, model: Any) -> Any: ...


@runtime_checkable
class HasFan(Protocol):
    """It gives plots of trajectories beside those of the data (`kuttax.tasks.stochastic.fan`)."""

    def fan(self, model: Any, solver: AbstractSolver) -> Any: ...


@runtime_checkable
class HasReconstruction(Protocol):
    """It gives plots of time series beside the data (`kuttax.tasks.latent.reconstruction`)."""

    def reconstruct(self, model: Any, solver: AbstractSolver) -> Any: ...


def takes(task: Any) -> Collection[LossOption]:
    """The further parameters of a task's loss."""
    return task.loss_options if isinstance(task, HasLossOptions) else ()


def calculus_of(task: Any) -> Calculus | None:
    """The calculus of a task's SDEs; None for ODEs."""
    return task.calculus if isinstance(task, HasCalculus) else None


def reference_of(task: Any) -> AbstractSolver | None:
    """The solver that a task names for comparison with the model's own; None if it names none."""
    return task.reference if isinstance(task, HasReference) else None

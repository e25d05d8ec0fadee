"""What training and comparing ask of a task: a protocol that a task of your own can satisfy (docs/own_task.md)."""

from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._types import VectorField
from ..solvers.base.solver import AbstractSolver
from ..validity.prediction import Prediction


class Metric(NamedTuple):
    """What a task's result is called and how it reads.

    Attributes:
        name: "accuracy", "rmse".
        higher_is_better: Which of two values is to be chosen.
        unit: The unit in which the number is given: with unit "%", 97.5 means 97.5 %; "sd" is for errors in standard
            deviations of the data. Empty where it has none.
        mean: How batches are averaged: "quadratic" for a root mean square.
    """

    name: str
    higher_is_better: bool
    unit: str
    mean: Literal["arithmetic", "quadratic"] = "arithmetic"

    @property
    def scale(self) -> float | None:
        """What one unit of the data is in the metric: a certificate holds its changes against no less.

        1 for an error in standard deviations of the data, unit "sd"; None where nothing is known.
        """
        return 1.0 if self.unit == "sd" else None


class Trajectories(NamedTuple):
    """The initial value problems that a model solves: what a solver is distilled for.

    Attributes:
        field: The vector field, for one state.
        y0: The states at t0, a pytree of arrays with a leading axis of starts.
        t0, t1: The interval.
        args: Handed to the field.
    """

    field: VectorField
    y0: PyTree[Array]
    t0: float
    t1: float
    args: Any = None


@runtime_checkable
class Task(Protocol):
    """Data, a model and a loss; the solver is given from outside.

    A further attribute `consistency` is the penalty, weighted for this loss, that `kx.fit` trains with; None for none,
    `0.1 * kx.Consistency()` where a task has no such attribute. Where one solve has output times, an attribute
    `intervals` says how many intervals between them it crosses: fixed steps are so many in each of them.

    Further methods: `warm_up_penalty(steps)` is the penalty of `kx.fit`'s warm-up on the error of one of so many steps,
    weighted for this loss, `0.1 * kx.LocalError(steps=steps)` where a task has none;
    `trajectories(model, batch) -> Trajectories` lets solvers be distilled for its models;
    `portrait(model) -> Portrait | None` lets a density in the plane be drawn (`kuttax.tasks.density.portrait`);
    `forecast(model, solver) -> dict` says how far ahead a model sees (`kuttax.tasks.dynamics.forecast`);
    `reconstruct(model, solver) -> Reconstruction` lets time series be drawn (`kuttax.tasks.latent.reconstruction`);
    `fan(model, solver) -> Fan` lets trajectories be drawn beside those of the data (`kuttax.tasks.stochastic.fan`).

    A task whose models are SDEs says so with an attribute `calculus` ("ito" or "stratonovich"), and with `reference`
    the solver that asks whether a model means anything without its own; Tsit5 at 1e-6 where a task has none. Its
    `predict` draws the same noise for the same batch, whatever the solver (`kuttax.tasks.stochastic.noise`).

    `loss` and `predict` are compiled, so they are pure and raise nothing that depends on numbers: a solve in them has
    `throw=False` and its status is handed on. The training loop raises it as an error, or leaves the batch out, as its
    settings say (docs/training.md).
    """

    @property
    def name(self) -> str:
        """What records and tables call the task."""
        ...

    @property
    def interval(self) -> tuple[float, float]:
        """The times that the solver crosses; a learned solver is built for it."""
        ...

    @property
    def metric(self) -> Metric:
        """What `Prediction.metric` and the logged "metric" mean."""
        ...

    @property
    def train(self) -> PyTree[Any]:
        """NumPy arrays with a common leading axis of samples; the same rows of all of them are a batch."""
        ...

    @property
    def validation(self) -> PyTree[Any]:
        """As `train`; choices are made on it."""
        ...

    @property
    def test(self) -> PyTree[Any]:
        """As `train`; reported once."""
        ...

    def init(self, key: PRNGKeyArray) -> Any:
        """A model with fresh weights, a pytree; the same key gives the same weights, whatever the solver."""
        ...

    def loss(
        self,
        model: Any,
        solver: AbstractSolver,
        batch: PyTree[Array],
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """The scalar to minimise, and what to log.

        A further parameter `penalty=None` lets it be trained with penalties: hand it to the solve, with a key, and add
        what the solution says of it. A further parameter `progress=1.0` is told the share of training that is done: for
        a loss that changes on the way.

        Args:
            model: From `init`, perhaps trained.
            solver: Crosses `interval`.
            batch: Rows of `train`.
            key: For what is random in the loss, and in the penalty.

        Returns:
            The loss, and at least "nfe" (evaluations of the field, NaN where unknown), "metric" and "status". The
            latter is a scalar; or one for each sample of the batch, where the loss is the mean over those whose status
            is zero: then one that fails may be lost without its batch (`kuttax.tasks.reached`).
        """
        ...

    def predict(self, model: Any, solver: AbstractSolver, batch: PyTree[Array]) -> Prediction:
        """What the model makes of a batch with this solver, which need not be the one it was trained with."""
        ...

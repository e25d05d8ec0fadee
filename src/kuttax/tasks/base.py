"""The protocol that training and comparing require of a task; your own task can satisfy it (docs/own_task.md)."""

from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._types import VectorField
from ..solvers.base.solver import AbstractSolver
from ..validity.prediction import Prediction


class Metric(NamedTuple):
    """The name of a task's result and how to read it.

    Attributes:
        name: "accuracy", "rmse".
        higher_is_better: Whether the higher of two values is better.
        unit: The unit of the number: with unit "%", 97.5 means 97.5 %; "sd" is for errors in standard deviations of the
            data. Empty without a unit.
        mean: How batches are averaged: "quadratic" for a root mean square.
    """

    name: str
    higher_is_better: bool
    unit: str
    mean: Literal["arithmetic", "quadratic"] = "arithmetic"

    @property
    def scale(self) -> float | None:
        """The size of one unit of the data in the metric: a certificate takes changes relative to at least this.

        1 for an error in standard deviations of the data, unit "sd"; None if not known.
        """
        return 1.0 if self.unit == "sd" else None


class Trajectories(NamedTuple):
    """The initial value problems that a model solves, for distilling a solver.

    Attributes:
        field: The vector field, for one state.
        y0: The states at t0, a pytree of arrays with a leading axis of starts.
        t0, t1: The interval.
        args: Passed to the field.
    """

    field: VectorField
    y0: PyTree[Array]
    t0: float
    t1: float
    args: Any = None


@runtime_checkable
class Task(Protocol):
    """Data, a model and a loss; the caller passes the solver.

    Optional attributes: `loss_options` names the further parameters of `loss`: without "penalty" there, the task trains
    without penalties. `consistency` is the penalty, weighted for this loss, that `kx.fit` trains with; None for none,
    and `0.1 * kx.Consistency()` for a task without the attribute. `intervals` is the number of intervals in one solve
    with output times: a fixed-step solver takes `steps` steps in each interval.

    Optional methods: `warm_up_penalty(steps)` is the penalty of `kx.fit`'s warm-up on the error of one of `steps`
    steps, weighted for this loss, `0.1 * kx.LocalError(steps=steps)` for a task without it;
    `trajectories(model, batch) -> Trajectories` lets solvers be distilled for its models;
    `growth(model, solver, batch) -> kx.GrowthRates` lets certificates compare growth rates (`kx.growth_rates`);
    `portrait(model) -> Portrait | None` gives plots of a density in the plane (`kuttax.tasks.density.portrait`);
    `forecast(model, solver) -> dict` gives the quality of long forecasts (`kuttax.tasks.dynamics.forecast`);
    `reconstruct(model, solver) -> Reconstruction` gives plots of time series (`kuttax.tasks.latent.reconstruction`);
    `fan(model, solver) -> Fan` gives plots of trajectories beside those of the data (`kuttax.tasks.stochastic.fan`).

    A task whose models are SDEs has an attribute `calculus` ("ito" or "stratonovich"). An attribute `reference` is a
    solver for comparison with the model's own; Tsit5 at 1e-6 for a task without it. `predict` of an SDE task draws the
    same noise for the same batch, whatever the solver (`kuttax.tasks.stochastic.noise`).

    `loss` and `predict` are compiled, so they are pure and must not raise on array values; they return a status
    instead: use `throw=False` in solves. The training loop raises the status as an error, or leaves the batch out,
    according to its settings (docs/training.md).
    """

    @property
    def name(self) -> str:
        """The name of the task in records and tables."""
        ...

    @property
    def interval(self) -> tuple[float, float]:
        """The time interval of the solver; a learned solver is built for it."""
        ...

    @property
    def metric(self) -> Metric:
        """The meaning of `Prediction.metric` and the logged "metric"."""
        ...

    @property
    def train(self) -> PyTree[Any]:
        """NumPy arrays with a common leading axis of samples; a batch takes the same rows of all of them."""
        ...

    @property
    def validation(self) -> PyTree[Any]:
        """The same form as `train`; for choices."""
        ...

    @property
    def test(self) -> PyTree[Any]:
        """The same form as `train`; reported once."""
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
        """The scalar to minimise, and the values to log.

        Optional parameters: `penalty=None` allows training with penalties: pass it to the solve, with a key, and add
        the solution's `penalty` to the loss. `progress=1.0` receives the share of training that is done: for a loss
        that changes during training.

        Args:
            model: From `init`, perhaps trained.
            solver: Solves over `interval`.
            batch: Rows of `train`.
            key: For random parts of the loss, and of the penalty.

        Returns:
            The loss, and at least "nfe" (evaluations of the field, NaN if unknown), "metric" and "status". The status
            is a scalar; or one for each sample of the batch, if the loss is the mean over those whose status is zero:
            then a failed sample need not cost its whole batch (`kuttax.tasks.reached`).
        """
        ...

    def predict(self, model: Any, solver: AbstractSolver, batch: PyTree[Array]) -> Prediction:
        """The model's prediction of a batch with this solver, which may differ from the one in training."""
        ...

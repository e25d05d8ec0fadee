"""Density estimation by a continuous normalizing flow."""

from dataclasses import dataclass
from math import log
from typing import Any, ClassVar, Literal, Protocol, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...data.tables.points import Points, PointSource, PointSplits
from ...density.likelihood import standard_normal
from ...density.transport import Transported, augmented, transport
from ...errors import UserError
from ...nn.fields.concat_squash import ConcatSquashField
from ...nn.fields.mlp import MLPField
from ...penalties.base import Penalties
from ...solvers.base.solver import AbstractSolver
from ...validity.prediction import Prediction
from ..abilities import LossOption
from ..base import Metric, Trajectories
from ..classification.task import check_sizes
from .portrait import Portrait, portrait

DensityFieldKind = Literal["squash", "mlp"]
Units = Literal["nats", "bits/dim"]

_FIELDS = {"squash": ConcatSquashField, "mlp": MLPField}


class Objective(Protocol):
    """The training objective of a field."""

    @property
    def consistency(self) -> Penalties | None:
        """The penalty that `kx.fit` adds to the loss; None for none."""
        ...

    def loss(
        self,
        task: "Density",
        model: Any,
        solver: AbstractSolver,
        batch: Points,
        key: PRNGKeyArray,
        penalty: Penalties | None,
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """The same as `Task.loss`."""
        ...


@dataclass(frozen=True, eq=False)
class Density:
    """Density estimation of points: a field that moves a normal distribution at time 0 to the data at time 1. Float32.

    Grathwohl et al. (FFJORD, ICLR 2019, arXiv 1810.01367). A prediction moves points from time 1 back to time 0, with
    the exact trace, so its solver is for that direction.

    Attributes:
        name: Its name in records and tables.
        splits: The data, points `(n, d)`.
        objective: The training objective: `Likelihood` or `Matching`.
        field: "squash" is the gated field of FFJORD, "mlp" has the time appended to each layer's input.
        width: Hidden units.
        depth: Number of hidden layers.
        units: The unit of the metric: nats a point, or bits a dimension.
        adjoint: For `kuttax.solve`; None for its default.
        max_steps: The largest number of steps that an adaptive solver may try.
        source: The source of a user's data, whose names and units plots use; None without.

    Raises:
        UserError: An option is out of range or does not fit the data.
    """

    loss_options: ClassVar[tuple[LossOption, ...]] = ("penalty",)

    name: str
    splits: PointSplits
    objective: Objective
    field: DensityFieldKind = "squash"
    width: int = 64
    depth: int = 2
    units: Units = "nats"
    adjoint: Any = None
    max_steps: int = 256
    source: PointSource | None = None

    interval = (1.0, 0.0)

    def __post_init__(self):
        check_sizes(self.name, width=self.width, depth=self.depth, max_steps=self.max_steps)
        for option, known in (("field", tuple(_FIELDS)), ("units", get_args(Units))):
            if getattr(self, option) not in known:
                given = getattr(self, option)
                raise UserError(f"{self.name}: unknown {option} {given!r}; known: {', '.join(known)}")
        widths = {part.x.shape[1] for part in self.splits}
        if len(widths) > 1:
            raise UserError(f"{self.name}: training, validation and test data have {sorted(widths)} columns")

    @property
    def summary(self) -> str:
        """What the user's data were understood as; empty without."""
        return "" if self.source is None else self.source.summary

    @property
    def metric(self) -> Metric:
        """The mean negative log-likelihood."""
        return Metric("NLL", higher_is_better=False, unit=self.units)

    @property
    def consistency(self) -> Penalties | None:
        """The penalty for `kx.fit`, from the objective."""
        return self.objective.consistency

    @property
    def train(self) -> Points:
        """The training set."""
        return self.splits.train

    @property
    def validation(self) -> Points:
        """The validation set."""
        return self.splits.validation

    @property
    def test(self) -> Points:
        """The test set."""
        return self.splits.test

    @property
    def dimensions(self) -> int:
        """The dimension of a point."""
        return self.splits.train.x.shape[1]

    def init(self, key: PRNGKeyArray) -> Any:
        """A field with fresh float32 weights."""
        return _FIELDS[self.field](self.dimensions, self.width, self.depth, key=key)

    def loss(
        self,
        model: Any,
        solver: AbstractSolver,
        batch: Points,
        key: PRNGKeyArray,
        penalty: Penalties | None = None,
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """The objective's loss, and the penalty; logs "nfe", "metric" (NaN if not known) and "status"."""
        return self.objective.loss(self, model, solver, batch, key, penalty)

    def predict(self, model: Any, solver: AbstractSolver, batch: Points) -> Prediction:
        """The points at time 0, `(n, d)`, and their NLL, in the task's units."""
        moved = self.carried_back(model, solver, batch)
        nll = self.nll(moved, batch)
        return Prediction(
            outputs=moved.x,
            metric=jnp.mean(nll),
            loss=jnp.mean(nll),
            stats=moved.solution.stats,
            status=jnp.max(moved.solution.status),
            nll=nll,
        )

    def carried_back(self, model: Any, solver: AbstractSolver, batch: Points, **asked: Any) -> Transported:
        """The points at time 0."""
        options = {"adjoint": self.adjoint, "max_steps": self.max_steps, "throw": False, **asked}
        return transport(model, jnp.asarray(batch.x), *self.interval, solver, **options)

    def nll(self, moved: Transported, batch: Points) -> Float[Array, " n"]:
        """The negative log-likelihood of each point, in the task's units."""
        nats = -(standard_normal(moved.x) + moved.log_det + jnp.asarray(batch.log_det))
        return nats if self.units == "nats" else nats / (self.dimensions * log(2))

    def trajectories(self, model: Any, batch: Points) -> Trajectories:
        """The initial value problems behind a batch's likelihoods, from the data to the base."""
        field, state, args = augmented(model, jnp.asarray(batch.x))
        return Trajectories(field, state, *self.interval, args=args)

    def portrait(self, model: Any) -> Portrait | None:
        """The density for plots; None if the data are not points in the plane."""
        if self.dimensions != 2:
            return None
        found = portrait(model, self.test.x, self.max_steps)
        return found if self.source is None else found.in_units(self.source)

    def sampling(self, model: Any, samples: int, key: PRNGKeyArray) -> Trajectories:
        """The initial value problems that draw `samples` samples, from the base to the data."""
        t1, t0 = self.interval
        start = jax.random.normal(key, (samples, self.dimensions), jnp.float32)
        return Trajectories(model, start, t0, t1)

"""MomentFit: an SDE whose trajectories match the means and variances of observed ones."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..._solve.solve import solve
from ...errors import UserError
from ...nn.fields.cubed import Cubed
from ...nn.fields.mlp import MLPField
from ...penalties import LocalError
from ...penalties.base import Penalties
from ...solvers.base.solution import Solution
from ...solvers.base.solver import AbstractSolver
from ...solvers.sde.sde import SDE, Calculus
from ...validity.prediction import Prediction, mean_nfe
from ..abilities import LossOption
from ..base import Metric
from ..classification.task import check_sizes
from .fan import Fan, fan
from .noise import fine_steps, noise_of

_FAN = 1000  # trajectories of a fan chart


class Ensemble(NamedTuple):
    """Trajectories along the first axis of all fields; a slice of it is a batch.

    Attributes:
        number: Its index in its part of the data.
        part: Which part: 0 training, 1 validation, 2 test.
        y: The observed states, `(n, times, d)`.
    """

    number: Any
    part: Any
    y: Any


class Moments(NamedTuple):
    """Means and variances at every time.

    Attributes:
        mean, var: `(times, d)`, or one of them for each part.
    """

    mean: Any
    var: Any


class MomentSplits(NamedTuple):
    """Trajectories for training, for choices and for the report, each `(n, times, d)`."""

    train: Float[np.ndarray, "n times d"]
    validation: Float[np.ndarray, "m times d"]
    test: Float[np.ndarray, "k times d"]


@dataclass(frozen=True, eq=False)
class MomentFit:
    """A neural SDE, fitted to the moments of trajectories as in Pal et al. (ICML 2021, arXiv 2105.03918). Float32.

        loss = mean |E y - E data|^2 + mean |Var y - Var data|^2

    over times and components. A sample is one trajectory, simulated from the start of an observed one. The loss
    compares the moments of a batch with those of all the data of its part (training, validation, test), variances with
    n - 1. The drift is a multilayer perceptron (tanh) of the cubed state, the diffusion an affine map, diagonal noise.

    A fixed-step solver takes its steps in each interval between observations, and the reported NFE is that of an
    interval; an adaptive one ends a step at every observation.

    Attributes:
        name: Its name in records and tables.
        times: The times of the observations; the first one is the start.
        parts: The trajectories.
        width: Hidden units of the drift.
        calculus: The calculus of the model.
        adjoint: For `kuttax.solve`; None for its default.
        max_steps: The largest number of steps that an adaptive solver may try; it also sets the smallest step size.
        targets: The moments of each part.
        train, validation, test: Batches are slices of these.

    Raises:
        UserError: An option is out of range, or a part is not a set of trajectories observed at these times.
    """

    loss_options: ClassVar[tuple[LossOption, ...]] = ("penalty",)

    name: str
    times: Float[np.ndarray, " times"]
    parts: MomentSplits
    width: int = 50
    calculus: Calculus = "stratonovich"
    adjoint: Any = None
    max_steps: int = 8192
    targets: Moments = field(init=False)
    train: Ensemble = field(init=False)
    validation: Ensemble = field(init=False)
    test: Ensemble = field(init=False)

    def __post_init__(self):
        check_sizes(self.name, width=self.width, max_steps=self.max_steps)
        moments = []
        for number, part in enumerate(MomentSplits._fields):
            y = np.asarray(getattr(self.parts, part))
            _check(f"{self.name}, {part}", y, len(self.times))
            count = np.arange(len(y), dtype=np.int32)
            ensemble = Ensemble(count, np.full_like(count, number), y.astype(np.float32))
            object.__setattr__(self, part, ensemble)
            moments.append(Moments(y.mean(axis=0), y.var(axis=0, ddof=1)))
        both = (np.stack(x).astype(np.float32) for x in zip(*moments, strict=True))
        object.__setattr__(self, "targets", Moments(*both))

    @property
    def interval(self) -> tuple[float, float]:
        """From the first observation to the last."""
        return float(self.times[0]), float(self.times[-1])

    @property
    def metric(self) -> Metric:
        """The loss itself."""
        return Metric("moment loss", higher_is_better=False, unit="")

    @property
    def consistency(self) -> Penalties:
        """The penalty for `kuttax.fit`: the local error of the solver's own steps."""
        return 0.01 * LocalError(size="solver")

    @property
    def reference(self) -> AbstractSolver:
        """A solver with fine steps, to compare with the model's own."""
        return fine_steps(self.calculus, 16)

    def init(self, key: PRNGKeyArray) -> SDE:
        """A model with fresh float32 weights."""
        drift, diffusion = jax.random.split(key)
        d = self.train.y.shape[2]
        return SDE(
            Cubed(MLPField(d, self.width, 1, key=drift, time_dependent=False)),
            MLPField(d, 1, 0, key=diffusion, time_dependent=False),
            calculus=self.calculus,
        )

    def loss(
        self,
        model: SDE,
        solver: AbstractSolver,
        batch: Ensemble,
        key: PRNGKeyArray,
        penalty: Penalties | None = None,
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """The distance of the moments, and the penalty; logs "nfe" (of the drift, an interval), "metric", "status".

        Raises:
            UserError: The batch has one sample, so it has no variance.
        """
        paths, sol = self._simulated(model, solver, batch, key, penalty=penalty)
        loss = self._distance(paths, batch.part)
        nfe = mean_nfe(sol.stats) / (len(self.times) - 1)
        return loss + sol.penalty, {"nfe": nfe, "metric": loss, "status": jnp.max(sol.status)}

    def predict(self, model: SDE, solver: AbstractSolver, batch: Ensemble) -> Prediction:
        """The simulated states after the start, `(n, times - 1, d)`; the noise is the same for the same batch."""
        paths, sol = self._simulated(model, solver, batch, noise_of(jnp.asarray(batch.number)))
        loss = self._distance(paths, jnp.asarray(batch.part))
        stats = jax.tree.map(lambda count: count / (len(self.times) - 1), sol.stats)
        return Prediction(paths[:, 1:], loss, stats=stats, loss=loss, status=jnp.max(sol.status))

    def fan(self, model: SDE, solver: AbstractSolver) -> Fan:
        """Quantiles of simulated test trajectories and of the observed ones."""
        batch = jax.tree.map(lambda x: jnp.asarray(x[:_FAN]), self.test)
        paths, _ = jax.jit(lambda batch: self._simulated(model, solver, batch, noise_of(batch.number)))(batch)
        return fan(self.times, np.asarray(paths, np.float64), self.test.y)

    def _simulated(
        self, model: SDE, solver: AbstractSolver, batch: Ensemble, key: PRNGKeyArray, **asked: Any
    ) -> tuple[Float[Array, "n times d"], Solution]:
        options = {"adjoint": self.adjoint, "max_steps": self.max_steps, "throw": False, **asked}
        options |= {"solver": solver, "ts": self.times, "batch_axis": 0, "key": key}
        sol = solve(model, jnp.asarray(batch.y)[:, 0], *self.interval, **options)
        return jnp.swapaxes(sol.ys, 0, 1), sol

    def _distance(self, paths: Float[Array, "n times d"], part: Int[Array, " n"]) -> Float[Array, ""]:
        """The distance between the moments of these trajectories and those of all the data of their part."""
        if len(paths) < 2:
            raise UserError(f"{self.name}: one trajectory has no variance: give a batch size that leaves no single one")
        mean, var = (jnp.asarray(target, paths.dtype)[part[0]] for target in self.targets)
        return jnp.mean((paths.mean(0) - mean) ** 2) + jnp.mean((paths.var(0, ddof=1) - var) ** 2)


def _check(name: str, y: np.ndarray, times: int) -> None:
    if y.ndim != 3 or len(y) < 2 or y.shape[1] != times:
        raise UserError(f"{name}: expected at least two trajectories of {times} states, (n, {times}, d), got {y.shape}")
    if not np.isfinite(y).all():
        raise UserError(f"{name}: trajectory {np.argwhere(~np.isfinite(y))[0, 0]} is not finite: leave it out")

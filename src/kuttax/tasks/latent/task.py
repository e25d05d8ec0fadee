"""Latent: irregular time series as noisy observations of a latent ODE or SDE."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..._solve.solve import solve
from ...data.series.series import Series, SeriesSplits
from ...errors import UserError
from ...nn.latent import LatentModel
from ...nn.recognition import Recognised
from ...penalties.base import Penalties
from ...solvers.base.solution import Stats
from ...solvers.base.solver import AbstractSolver
from ...solvers.rk.adaptive.adaptive import Adaptive
from ...solvers.rk.tableaus import TSIT5
from ...solvers.sde.sde import Calculus
from ...validity.prediction import Prediction, mean_nfe
from ..abilities import LossOption
from ..base import Metric, Trajectories
from ..reached import mean_over_reached, zero_where_lost
from ..stochastic.noise import fine_steps
from .evidence import counted, gaussian_log_density, kl_from_standard_normal, masked_mean
from .reconstruction import Reconstruction, reconstruction

_PREDICTING = 0  # the seed of the single path with which a latent SDE predicts


class LatentPath(NamedTuple):
    """A latent solve: the states on the grid, `(n, grid, latent)`, the path's divergence, `(n,)`, and the rest."""

    path: Float[Array, "n grid latent"]
    divergence: Float[Array, " n"]
    stats: Stats
    status: Array
    penalty: Any


@dataclass(frozen=True, eq=False)
class Latent:
    """A latent ODE of irregular time series: a field in a latent space, an encoder into it and a decoder out of it.

    Rubanova, Chen & Duvenaud (Latent ODEs for irregularly-sampled time series, NeurIPS 2019). The encoder sees a part
    of each series' times and gives the distribution of the latent state at time 0. The solver integrates the state from
    0 to the last time of the common grid; the decoder maps it at each series' own times. Training maximises the lower
    bound of all observed values' likelihood; validation and test use the values that the encoder does not see.

    A fixed-step solver takes its steps in each interval of the grid, so its budget, and the reported NFE, are for one
    interval. An adaptive solver chooses its steps over the whole time and reads the grid from its dense output, without
    further evaluations.

    Attributes:
        name: Its name in records and tables.
        splits: The series and their grid.
        stochastic: Use a latent SDE; the divergence of its paths from the prior's enters the bound (Li et al., AISTATS
            2020).
        latent: Entries of the latent state.
        width, depth: Hidden units and layers of the field; the decoder has one hidden layer of `width`.
        hidden: Size of the encoder's state.
        observation_std: The fixed standard deviation of an observation about the decoder's mean.
        kl: The weight of the divergences in the bound at the end of training; 1 is the bound itself.
        kl_anneal: The share of training in which that weight grows linearly from zero; 0 for none.
        adjoint: For `kuttax.solve`; None for its default.
        max_steps: The largest number of steps that an adaptive solver may try.

    Raises:
        UserError: An option is out of its range.
    """

    loss_options: ClassVar[tuple[LossOption, ...]] = ("penalty", "progress")

    name: str
    splits: SeriesSplits
    stochastic: bool = False
    latent: int = 8
    width: int = 32
    depth: int = 1
    hidden: int = 64
    observation_std: float = 0.01
    kl: float = 1.0
    kl_anneal: float = 0.1
    adjoint: Any = None
    max_steps: int = 1024

    def __post_init__(self):
        check_options(self)

    @property
    def summary(self) -> str:
        """What a user's data were understood as."""
        return self.splits.summary

    @property
    def interval(self) -> tuple[float, float]:
        """From one time of the grid to the next."""
        return 0.0, float(self.splits.times[1])

    @property
    def calculus(self) -> Calculus | None:
        """The calculus of the latent SDE, whose noise is additive; None for a latent ODE."""
        return "ito" if self.stochastic else None

    @property
    def reference(self) -> AbstractSolver | None:
        """For a latent SDE: a solver with fine steps, to compare with the model's own."""
        return fine_steps("ito", 4) if self.stochastic else None

    @property
    def intervals(self) -> int:
        """The number of intervals of the grid."""
        return len(self.splits.times) - 1

    @property
    def metric(self) -> Metric:
        """The mean squared error of each series' held-out values, the mean over the series."""
        return Metric("MSE", higher_is_better=False, unit="")

    @property
    def train(self) -> Series:
        """The training series."""
        return self.splits.train

    @property
    def validation(self) -> Series:
        """The validation series."""
        return self.splits.validation

    @property
    def test(self) -> Series:
        """The test series."""
        return self.splits.test

    def init(self, key: PRNGKeyArray) -> LatentModel:
        """A model with fresh float32 weights."""
        sizes = len(self.splits.names), self.latent, self.width, self.depth, self.hidden
        return LatentModel(*sizes, stochastic=self.stochastic, key=key)

    def loss(
        self,
        model: LatentModel,
        solver: AbstractSolver,
        batch: Series,
        key: PRNGKeyArray,
        penalty: Penalties | None = None,
        progress: Any = 1.0,
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """The negative lower bound of the batch's log-likelihood, in nats a value, and the penalty.

        For a series with m observed values, (-log p(x | z) + weight (KL(q(z0) | N(0, 1)) + path KL)) / m with one z
        drawn from the encoder's distribution; the mean over the series. The times that the encoder sees are drawn anew.
        Logs "nfe" (of an interval), "metric" and "status". If every sample has its own steps, the means are over the
        series that reached their end.
        """
        draw_key, solve_key, seen_key = jax.random.split(key, 3)
        batch = self._shown_anew(batch, seen_key)
        found = self.encode(model, batch)
        start = found.mean + found.std * jax.random.normal(draw_key, found.mean.shape, found.mean.dtype)
        crossed = self.cross(model, solver, start, found.context, solve_key, penalty=penalty)
        mean = self._decoded(model, zero_where_lost(crossed.path, crossed.status), batch)
        density = masked_mean(gaussian_log_density(jnp.asarray(batch.x), mean, self.observation_std), batch.mask)
        path = zero_where_lost(crossed.divergence, crossed.status)
        divergence = (kl_from_standard_normal(found.mean, found.std) + path) / counted(batch.mask).astype(path.dtype)
        bound = density - self.weight(progress, path.dtype) * divergence
        log = {
            "nfe": mean_nfe(crossed.stats) / self.intervals,
            "metric": mean_over_reached(masked_mean((mean - batch.x) ** 2, held_out(batch)), crossed.status),
            "status": crossed.status,
        }
        return -mean_over_reached(bound, crossed.status) + crossed.penalty, log

    def weight(self, progress: Any, dtype: Any) -> Float[Array, ""]:
        """The weight of the divergences, at this share of training."""
        share = 1.0 if self.kl_anneal == 0 else jnp.minimum(jnp.asarray(progress, dtype) / self.kl_anneal, 1.0)
        return jnp.asarray(self.kl * share, dtype)

    def predict(self, model: LatentModel, solver: AbstractSolver, batch: Series) -> Prediction:
        """The means of the held-out values, `(n, length, d)`, zero elsewhere, from the mean of each latent start.

        The metric is their mean squared error, the loss their negative log-likelihood in nats a value. A latent SDE
        predicts with one fixed path.
        """
        found = self.encode(model, batch)
        crossed = self.cross(model, solver, found.mean, found.context, jax.random.key(_PREDICTING))
        mean, x, held = self._decoded(model, crossed.path, batch), jnp.asarray(batch.x), held_out(batch)
        return Prediction(
            outputs=jnp.where(held, mean, 0),
            mask=held,
            metric=jnp.mean(masked_mean((mean - x) ** 2, held)),
            loss=-jnp.mean(masked_mean(gaussian_log_density(x, mean, self.observation_std), held)),
            stats=jax.tree.map(lambda count: count / self.intervals, crossed.stats),
            status=jnp.max(crossed.status),
        )

    def trajectories(self, model: LatentModel, batch: Series) -> Trajectories:
        """One interval from the state of each series at one time of the grid; series take the times in turn.

        Raises:
            UserError: The latent state follows an SDE.
        """
        if self.stochastic:
            raise UserError(f"{self.name}: a solver is distilled for an ODE, and the latent state follows an SDE")
        found = self.encode(model, batch)
        path = self.cross(model, Adaptive(TSIT5, 1e-6, 1e-6), found.mean, found.context, jax.random.key(0)).path
        n = len(path)
        return Trajectories(model.field, path[np.arange(n), np.arange(n) % self.intervals], *self.interval)

    def reconstruct(self, model: LatentModel, solver: AbstractSolver) -> Reconstruction:
        """Numbers for plots of the first test series: see `kuttax.tasks.latent.reconstruction`."""
        return reconstruction(self, model, solver)

    def encode(self, model: LatentModel, batch: Series) -> Recognised:
        """The distribution of each series' latent start, `(n, latent)`, and its context, `(n, hidden)`."""
        x = jnp.asarray(batch.x)
        times = jnp.asarray(self.splits.times, x.dtype)[batch.index]
        return jax.vmap(model.encoder)(times, x, jnp.asarray(batch.mask), jnp.asarray(batch.seen))

    def cross(
        self,
        model: LatentModel,
        solver: AbstractSolver,
        start: Float[Array, "n latent"],
        context: Float[Array, "n hidden"],
        key: PRNGKeyArray,
        **asked: Any,
    ) -> LatentPath:
        """The latent states on the grid; `asked` are options of `kuttax.solve`."""
        times = self.splits.times
        options = {"adjoint": self.adjoint, "max_steps": self.max_steps, "throw": False, "key": key, **asked}
        options |= {"solver": solver, "ts": times, "batch_axis": 0}
        none = jnp.zeros(len(start), start.dtype)
        if self.stochastic:
            sde, state = model.paths.sde("additive"), (start, none)
            sol = solve(sde, state, times[0], times[-1], args=context, args_axes=0, **options)
            (path, _), divergence = sol.ys, sol.y1[1]
        else:
            sol = solve(model.field, start, times[0], times[-1], **options)
            path, divergence = sol.ys, none
        return LatentPath(jnp.swapaxes(path, 0, 1), divergence, sol.stats, sol.status, sol.penalty)

    def _shown_anew(self, batch: Series, key: PRNGKeyArray) -> Series:
        """The batch with the shown times drawn at random, with probability equal to the share of shown times."""
        share = self.splits.share
        if share == 1:
            return batch
        seen = jnp.asarray(batch.seen)
        return batch._replace(seen=jax.random.uniform(key, seen.shape, jnp.float32) < share)

    def _decoded(self, model: LatentModel, path: Float[Array, "n grid latent"], batch: Series) -> Array:
        """The means of the features at each series' own times, `(n, length, d)`."""
        own = jnp.take_along_axis(path, jnp.asarray(batch.index)[:, :, None], axis=1)
        return jax.vmap(jax.vmap(model.decode))(own)


def held_out(batch: Series) -> Array:
    """The observed values that the encoder does not see, `(n, length, d)`; all of them if it sees the whole series."""
    mask = jnp.asarray(batch.mask)
    hidden = mask & ~jnp.asarray(batch.seen)[:, :, None]
    return jnp.where(hidden.any(axis=(1, 2), keepdims=True), hidden, mask)


def check_options(options: Any) -> None:
    """Refuses invalid numbers of a `Latent`, or of its options.

    Raises:
        UserError: One is out of its range.
    """
    least = {"latent": 1, "width": 1, "depth": 0, "hidden": 1, "max_steps": 1, "kl": 0}
    for option, bound in least.items():
        if not getattr(options, option) >= bound:
            raise UserError(f"latent: {option} must be >= {bound}, got {getattr(options, option)}")
    if not 0 <= options.kl_anneal <= 1:
        raise UserError(f"latent: kl_anneal must lie in [0, 1], got {options.kl_anneal}")
    std = options.observation_std
    if std is not None and not std > 0:
        raise UserError(f"latent: observation_std must be > 0, got {std}")

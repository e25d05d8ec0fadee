"""Reconstruction: a latent model's predictions of a few series, as numbers for plots."""

from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ...data.series.series import Series, SeriesSplits
from ...solvers.base.solver import AbstractSolver

_SERIES = 3
_FEATURES = 3
_DRAWS = 64


class Reconstruction(NamedTuple):
    """The first test series, in the features with the most observations, in the units of the data.

    Attributes:
        time: The name of the times, with their unit in brackets if it is known.
        times: The grid, from 0.
        names: The names of the features.
        mean: From the mean of each latent start, `(series, grid, features)`.
        low, high: The 5 % and 95 % quantiles over draws of the latent path, without observation noise.
        index: The grid index of each observation's time, `(series, length)`.
        x: Values, `(series, length, features)`.
        mask: Which values were observed.
        seen: The times that the encoder sees, `(series, length)`.
    """

    time: str
    times: Float[np.ndarray, " grid"]
    names: tuple[str, ...]
    mean: Float[np.ndarray, "n grid d"]
    low: Float[np.ndarray, "n grid d"]
    high: Float[np.ndarray, "n grid d"]
    index: Any
    x: Any
    mask: Bool[np.ndarray, "n length d"]
    seen: Any


class Reconstructing(Protocol):
    """A task of series with an encoder, a latent solve on the grid and a decoder (`kuttax.tasks.Latent`)."""

    @property
    def splits(self) -> SeriesSplits: ...

    def encode(self, model: Any, batch: Series) -> Any:
        """The distribution of the latent starts."""
        ...

    def cross(self, model: Any, solver: AbstractSolver, start: Array, context: Array, key: PRNGKeyArray) -> Any:
        """The latent states on the grid."""
        ...


def reconstruction(task: Reconstructing, model: Any, solver: AbstractSolver) -> Reconstruction:
    """The model's predictions of the first test series with this solver; NaN if the solve fails."""
    batch = jax.tree.map(lambda x: np.asarray(x[:_SERIES]), task.splits.test)
    features = np.sort(np.argsort(-batch.mask.sum(axis=(0, 1)), kind="stable")[:_FEATURES])
    chosen = lambda x: np.asarray(x)[..., features]
    splits = task.splits
    low, high = (np.broadcast_to(x, len(splits.names))[features] for x in (splits.low, splits.high))
    in_units = lambda x: low + (high - low) * chosen(x)
    mean, draws = map(in_units, _decoded(task, model, solver, batch))
    names = tuple(splits.names[i] for i in features)
    least, most = np.quantile(draws, [0.05, 0.95], axis=0)
    x, mask = in_units(batch.x), chosen(batch.mask)
    times = splits.unit * splits.times
    return Reconstruction(splits.time, times, names, mean, least, most, batch.index, x, mask, batch.seen)


@eqx.filter_jit
def _decoded(task: Reconstructing, model: Any, solver: AbstractSolver, batch: Any) -> tuple[Array, Array]:
    """The features on the grid: from the mean of the latent start, `(n, grid, d)`, and from draws."""
    found = task.encode(model, batch)
    mean_key, draw_key = jax.random.split(jax.random.key(0))

    def decoded(start, key):
        path = task.cross(model, solver, start, found.context, key).path
        return jax.vmap(jax.vmap(model.decode))(path)

    def drawn(keys):
        noise = jax.random.normal(keys[0], found.mean.shape, found.mean.dtype)
        return decoded(found.mean + found.std * noise, keys[1])

    keys = jax.random.split(draw_key, (_DRAWS, 2))
    return decoded(found.mean, mean_key), jax.lax.map(drawn, keys)

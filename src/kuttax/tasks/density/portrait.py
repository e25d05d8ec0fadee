"""Portrait: a density in the plane, as numbers for plots."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...data.tables.points import PointSource
from ...density.likelihood import log_prob, sample
from ...solvers.rk.adaptive.adaptive import Adaptive
from ...solvers.rk.tableaus import TSIT5

_SIDE = 72  # points of the grid in one direction
_SAMPLES = 2000
_MARGIN = 0.15  # around the data, as a share of their extent


class Portrait(NamedTuple):
    """A density on a grid, samples of the model and points of the data.

    Attributes:
        x, y: The grid's coordinates, `(m,)` each.
        log_density: In nats, `(m, m)`, y along the first axis.
        samples: Samples of the model, `(n, 2)`.
        data: `(n, 2)`.
        names: The names of x and y; empty if they have none.
    """

    x: Float[Array, " m"] | np.ndarray
    y: Float[Array, " m"] | np.ndarray
    log_density: Float[Array, "m m"] | np.ndarray
    samples: Float[Array, "n 2"] | np.ndarray
    data: Float[Array, "n 2"] | np.ndarray
    names: tuple[str, ...] = ()

    def in_units(self, source: PointSource) -> "Portrait":
        """The same in the units of the data, under the names of their columns."""
        back = lambda points: source.mean + source.sd * np.asarray(points)
        x, y = (mean + sd * np.asarray(axis) for mean, sd, axis in zip(source.mean, source.sd, self[:2], strict=True))
        log_density = np.asarray(self.log_density) - np.log(source.sd).sum()
        return Portrait(x, y, log_density, back(self.samples), back(self.data), source.names)


def portrait(field: Any, data: Float[np.ndarray, "n 2"], max_steps: int) -> Portrait:
    """The density and samples of a flow with base at time 0 and data at time 1, by Tsit5 at 1e-5.

    If that solve fails, numbers are NaN.
    """
    solver, options = Adaptive(TSIT5, 1e-5, 1e-5), {"max_steps": max_steps, "throw": False}
    data = np.asarray(data[:_SAMPLES])
    low, high = data.min(axis=0), data.max(axis=0)
    margin = _MARGIN * (high - low)
    x, y = np.linspace(low - margin, high + margin, _SIDE, dtype=np.float32).T
    grid = jnp.asarray(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2))
    density = log_prob(field, grid, solver, **options).reshape(_SIDE, _SIDE)
    drawn = sample(field, jax.random.key(0), data.shape, solver, dtype=jnp.float32, **options)
    return Portrait(x, y, np.asarray(density), np.asarray(drawn), data)

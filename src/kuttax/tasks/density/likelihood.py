"""Likelihood: a flow is trained by solving it."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...data.tables.points import Points
from ...density.trace import AbstractTrace, Exact
from ...penalties.base import Penalties
from ...penalties.consistency import Consistency
from ...solvers.base.solver import AbstractSolver
from ...solvers.rk.tableaus import RK4
from ...validity.prediction import mean_nfe
from ..reached import mean_over_reached, zero_where_lost
from .task import Density


@dataclass(frozen=True)
class Likelihood:
    """Maximum likelihood: every training step carries a batch back to the base.

    A likelihood has no upper bound, and neither has what a coarse solver's error can pretend: with few steps, and with
    learned ones above all, train with a penalty that grows in proportion to that error, `kx.Consistency(transform=
    "plain")`.

    Attributes:
        trace: Of training; a prediction's is exact.
        penalised: The most points of a batch that a penalty looks at, in a solve of their own; None for all, in the
            solve of the likelihood. The penalty's mean is the same, its price is not.
    """

    trace: AbstractTrace = field(default_factory=Exact)
    penalised: int | None = None

    @property
    def consistency(self) -> Penalties:
        """For `kx.fit`: proportional to the error of a step, for the gain of a likelihood that leans on it is too."""
        return 0.02 * Consistency(transform="plain", reference=RK4)

    def loss(
        self,
        task: Density,
        model: Any,
        solver: AbstractSolver,
        batch: Points,
        key: PRNGKeyArray,
        penalty: Penalties | None,
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """The mean negative log-likelihood, and the penalty; the noise of a trace is drawn once for the solve.

        Where every point has its own steps, it is the mean over those that reached the end.
        """
        few = None if penalty is None else self.penalised
        asked = {} if few is not None else {"penalty": penalty}
        moved = task.carried_back(model, solver, batch, trace=self.trace, key=key, **asked)
        extra, status = moved.solution.penalty, moved.solution.status
        sound = moved._replace(x=zero_where_lost(moved.x, status), log_det=zero_where_lost(moved.log_det, status))
        nll = mean_over_reached(task.nll(sound, batch), status)
        if few is not None:
            part, key = jax.tree.map(lambda x: x[:few], batch), jax.random.fold_in(key, 1)
            beside = task.carried_back(model, solver, part, trace=self.trace, penalty=penalty, key=key).solution
            extra, status = beside.penalty, jnp.maximum(jnp.max(status), jnp.max(beside.status))
        return nll + extra, {"nfe": mean_nfe(moved.solution.stats), "metric": nll, "status": status}

"""Likelihood: trains a flow by solving it."""

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
    """Maximum likelihood: every training step moves a batch back to the base.

    A likelihood has no upper bound, so a coarse solver's error can inflate it without limit. With few steps, and above
    all with learned ones, train with a penalty that grows in proportion to that error, `kx.Consistency(transform=
    "plain")`.

    Attributes:
        trace: The trace in training; predictions use the exact one.
        penalised: The largest number of points of a batch for the penalty, in a separate solve; None for all, in the
            solve of the likelihood. The penalty's mean is the same, its cost is not.
    """

    trace: AbstractTrace = field(default_factory=Exact)
    penalised: int | None = None

    @property
    def consistency(self) -> Penalties:
        """The penalty for `kx.fit`: proportional to the error of a step, as is the likelihood gained from it."""
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

        If every point has its own steps, it is the mean over the points that reached the end.
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

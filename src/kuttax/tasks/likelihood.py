"""Likelihood: a flow is trained by solving it."""

from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..data.points import Points
from ..density.trace import AbstractTrace, Exact
from ..penalty import Penalties
from ..prediction import mean_nfe
from ..solvers.base import AbstractSolver
from .density import Density


@dataclass(frozen=True)
class Likelihood:
    """Maximum likelihood: every training step carries a batch back to the base.

    Attributes:
        trace: Of training; a prediction's is exact.
    """

    trace: AbstractTrace = field(default_factory=Exact)

    def loss(
        self,
        task: Density,
        model: Any,
        solver: AbstractSolver,
        batch: Points,
        key: PRNGKeyArray,
        penalty: Penalties | None,
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """The mean negative log-likelihood, and the penalty; the noise of a trace is drawn once for the solve."""
        moved = task.carried_back(model, solver, batch, trace=self.trace, penalty=penalty, key=key)
        nll = jnp.mean(task.nll(moved, batch))
        log = {"nfe": mean_nfe(moved.solution.stats), "metric": nll, "status": jnp.max(moved.solution.status)}
        return nll + moved.solution.penalty, log

"""Matching: trains a flow without solving it."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...data.tables.points import Points
from ...density.coupling import Coupling, Independent
from ...penalties.base import Penalties
from ...solvers.base.solver import AbstractSolver
from ...solvers.leaves import learns
from ...solvers.rk.fixed import FixedSteps
from ...solvers.rk.tableaus import RK4
from .task import Density

_FEW = 64  # points of a batch that a learned solver is fitted on
_FINE = FixedSteps(RK4, 16)
_INDEPENDENT = Independent()


@dataclass(frozen=True)
class Matching:
    """Conditional flow matching: fits the field to straight lines from noise to data.

    E |f(t, x_t) - (x_1 - x_0)|^2 with x_t = (1 - t) x_0 + t x_1 and t uniform in [0, 1] (Lipman et al., ICLR 2023,
    arXiv 2210.02747; Liu, Gong & Liu, ICLR 2023). This loss does not involve a solver, so a learned solver is fitted
    separately: to finer steps of the current field, by the squared deviation of states and log-densities at the end. A
    penalty costs one more solve.

    Attributes:
        coupling: How noise and points are paired.
    """

    coupling: Coupling = _INDEPENDENT

    @property
    def consistency(self) -> None:
        """None: the training of the field involves no solver error."""

    def loss(
        self,
        task: Density,
        model: Any,
        solver: AbstractSolver,
        batch: Points,
        key: PRNGKeyArray,
        penalty: Penalties | None,
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """The mean squared deviation from the lines, and the loss of a learned solver, if there is one."""
        noise_key, time_key, penalty_key = jax.random.split(key, 3)
        x = jnp.asarray(batch.x)
        noise = jax.random.normal(noise_key, x.shape, x.dtype)
        noise, x = self.coupling.pairs(noise, x, task.train.x)
        t = jax.random.uniform(time_key, (len(x),), x.dtype)
        along = (1 - t[:, None]) * noise + t[:, None] * x
        slope = jax.vmap(lambda t, x: model(t, x, None))(t, along)
        loss = jnp.mean(jnp.sum((slope - (x - noise)) ** 2, axis=1))
        status = jnp.zeros((), jnp.int32)
        if learns(solver):
            few = Points(x[:_FEW], jnp.asarray(batch.log_det)[:_FEW])
            loss = loss + _discretisation(task, jax.lax.stop_gradient(model), solver, few)
        if penalty is not None:
            moved = task.carried_back(model, solver, batch, penalty=penalty, key=penalty_key)
            loss, status = loss + moved.solution.penalty, jnp.max(moved.solution.status)
        return loss, {"nfe": jnp.ones(()), "metric": jnp.asarray(jnp.nan, x.dtype), "status": status}


def _discretisation(task: Density, frozen: Any, solver: AbstractSolver, few: Points) -> Float[Array, ""]:
    """The mean squared deviation between the solver and finer steps, on some points."""
    own, fine = (task.carried_back(frozen, one, few) for one in (solver, _FINE))
    return jnp.mean(jnp.sum((own.x - fine.x) ** 2, axis=1) + (own.log_det - fine.log_det) ** 2)

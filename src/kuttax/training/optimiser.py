"""The optimiser: Adam, one group for the field and one for the solver."""

from typing import Any

import equinox as eqx
import jax
import optax
from jaxtyping import PyTree

from .settings import Settings


def optimiser(settings: Settings, groups: PyTree[str]) -> optax.GradientTransformation:
    """Adam on a cosine schedule; `groups` has "field" or "solver" at every trained leaf (`kuttax.labels`)."""
    rates = {"field": settings.lr, "solver": settings.solver_lr}
    return optax.multi_transform(
        {
            group: optax.adam(optax.cosine_decay_schedule(rate, settings.train_steps, settings.lr_decay))
            for group, rate in rates.items()
        },
        groups,
    )


def continued(before: PyTree, fresh: PyTree) -> PyTree:
    """The state at the start of a part that has another solver: the field's moments go on, the schedules begin.

    Args:
        before: The state at the end of the part before.
        fresh: The initial state for the new solver.
    """

    def moments(state: Any) -> Any:
        return optax.tree_utils.tree_get(state.inner_states["field"], "ScaleByAdamState")

    leaves, structure = jax.tree.leaves(moments(before)), jax.tree.structure(moments(fresh))
    return eqx.tree_at(moments, fresh, jax.tree.unflatten(structure, leaves))

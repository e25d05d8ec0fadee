"""The optimiser: Adam, one group for the field and one for the solver."""

from typing import Any

import equinox as eqx
import jax
import optax
from jaxtyping import PyTree

from .part import Part
from .settings import Settings


def optimiser(settings: Settings, groups: PyTree[str], part: Part) -> optax.GradientTransformation:
    """Adam on a cosine schedule.

    Args:
        settings: The learning rates, and how far they decay.
        groups: "field" or "solver" at every trained leaf (`kuttax.labels`).
        part: The part of the schedule.
    """
    begin, steps = (0, settings.train_steps) if part.restarts else (part.begin, part.whole)

    def adam(rate: float) -> optax.GradientTransformation:
        schedule = optax.cosine_decay_schedule(rate, steps, settings.lr_decay)
        return optax.adam(lambda count: schedule(begin + count))

    return optax.multi_transform({"field": adam(settings.lr), "solver": adam(settings.solver_lr)}, groups)


def continued(before: PyTree, fresh: PyTree) -> PyTree:
    """The state at the start of a part that has another solver: the field's moments go on.

    Args:
        before: The state at the end of the part before.
        fresh: The initial state for the new solver.
    """

    def moments(state: Any) -> Any:
        return optax.tree_utils.tree_get(state.inner_states["field"], "ScaleByAdamState")

    leaves, structure = jax.tree.leaves(moments(before)), jax.tree.structure(moments(fresh))
    return eqx.tree_at(moments, fresh, jax.tree.unflatten(structure, leaves))

"""The optimiser: Adam, one group for the field and one for the solver."""

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

"""Scheduled: a penalty whose weight changes during training."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Int

from ..errors import UserError
from .base import AbstractPenalty, Penalties, terms_of


class Scheduled(eqx.Module):
    """A penalty, or a sum of them, times a schedule's value at each training step.

    The training loop takes it directly; `kx.solve` takes its value, `scheduled.at(step)`. Values of several add:
    `first.at(step) + second.at(step)`.

    Attributes:
        penalty: The penalty to weight.
        schedule: Training step -> weight: any optax schedule.

    Raises:
        UserError: `penalty` is not a penalty, or `schedule` is not a function.
    """

    penalty: AbstractPenalty | Penalties
    schedule: Callable[[Any], Any] = eqx.field(static=True)

    def __check_init__(self):
        terms_of(self.penalty)  # raises if it is not a penalty
        if not callable(self.schedule):
            raise UserError(
                f"schedule must be a function of the training step, got {self.schedule!r}: an optax schedule"
            )

    def at(self, step: Int[Array, ""]) -> Penalties:
        """The penalty at a training step."""
        with jax.numpy_dtype_promotion("standard"):  # optax needs it, whatever the user's setting
            weight = self.schedule(step)
        return weight * self.penalty


def decaying(penalty: AbstractPenalty | Penalties, first: Any, last: Any, steps: int) -> Scheduled:
    """A weight that decays from `first` to `last` over `steps` training steps (Pal et al. 2023, section 4).

    lambda(n) = first exp(-(n / steps) ln(first / last)).

    Raises:
        UserError: A weight or the number of steps is not positive.
    """
    if not (first > 0 and last > 0 and steps >= 1):
        raise UserError(f"weights must be > 0 and steps >= 1, got {first} to {last} in {steps} steps")
    import optax  # not at the top: the penalties do not wait for it

    return Scheduled(penalty, optax.exponential_decay(first, steps, last / first))

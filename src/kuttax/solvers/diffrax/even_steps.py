"""EvenSteps: a step size control of diffrax whose steps land on given times."""

import dataclasses
from typing import Any

import diffrax
import jax.numpy as jnp
from jaxtyping import Array

from .attempts import AbstractAround


class EvenSteps(AbstractAround):
    """`controller`, but steps land on every time in `ts`; the rest of each gap is divided into equal steps.

    diffrax's own ClipStepSizeController cuts off the step that would pass a time. That step may be so short that the
    next one, at most ten times as long, is shorter than the resolution of the Brownian path, and the solve ends there.
    Here a step is never less than half of the controller's step size, unless the times themselves are closer.

    Attributes:
        controller: The control that chooses the step sizes.
        ts: Increasing times.
    """

    controller: diffrax.AbstractAdaptiveStepSizeController
    ts: Array

    def wrap(self, direction):
        ts = jnp.sort(self.ts * direction)
        return dataclasses.replace(self, controller=self.controller.wrap(direction), ts=ts)

    def init(self, terms, t0, t1, y0, dt0, args, func, error_order):
        t1, state = self.controller.init(terms, t0, t1, y0, dt0, args, func, error_order)
        return self._evenly(t0, t1), state

    def adapt_step_size(self, t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state):
        keep, t0, t1, jump, state, result = self.controller.adapt_step_size(
            t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state
        )
        return keep, t0, self._evenly(t0, t1), jump, state, result

    def _evenly(self, t0: Any, t1: Any) -> Any:
        """The end of the first of the equal steps from t0 to the next time, none longer than the controller's step."""
        i = jnp.searchsorted(self.ts, t0, side="right")
        end = self.ts[jnp.minimum(i, len(self.ts) - 1)]
        steps = jnp.ceil((end - t0) / (t1 - t0) * (1 - 1e-3))  # so that rounding adds no step
        ahead = jnp.where(steps <= 1, end, t0 + (end - t0) / jnp.maximum(steps, 1))
        return jnp.where(i < len(self.ts), ahead, t1)

"""FirstAttempts: diffrax's step size control, which counts how often the first step was tried in vain."""

import dataclasses
from typing import Any

import diffrax
import jax.numpy as jnp


class FirstAttempts(diffrax.AbstractAdaptiveStepSizeController):
    """`controller`, whose state says how many attempts at the first step were rejected.

    A method whose last stage is the next first one evaluates the field at t0 anew in each of them: diffrax takes back
    what the rejected step knew. Its own statistics count all rejections together.

    Attributes:
        controller: What sizes the steps.
    """

    controller: diffrax.AbstractAdaptiveStepSizeController

    @property
    def rtol(self):
        return self.controller.rtol

    @property
    def atol(self):
        return self.controller.atol

    @property
    def norm(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.controller.norm

    def wrap(self, direction):
        return dataclasses.replace(self, controller=self.controller.wrap(direction))

    def init(self, terms, t0, t1, y0, dt0, args, func, error_order):
        t1, state = self.controller.init(terms, t0, t1, y0, dt0, args, func, error_order)
        return t1, (state, jnp.asarray(True), jnp.zeros((), jnp.int32))

    def adapt_step_size(self, t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state: Any):
        inner, first, rejected = controller_state
        keep, t0, t1, jump, inner, result = self.controller.adapt_step_size(
            t0, t1, y0, y1_candidate, args, y_error, error_order, inner
        )
        rejected = jnp.where(first & ~keep, rejected + 1, rejected)
        return keep, t0, t1, jump, (inner, first & ~keep, rejected), result

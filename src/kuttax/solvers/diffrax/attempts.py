"""Attempts: a step size control of diffrax that counts attempts at fresh steps and stops hopeless ones."""

import dataclasses
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..base.solution import all_finite


class Attempted(NamedTuple):
    """The state of an `Attempts` control.

    Attributes:
        inner: The state of the control itself.
        fresh: Whether the next step is the first one, or the first one after a jump.
        again: How often a method whose last stage is the next first one evaluates that stage after all, beside the
            start: after every jump, and once for each rejected attempt at a fresh step, since diffrax discards the
            state of a rejected step.
        finite: Whether the error of the last attempt was finite.
    """

    inner: Any
    fresh: Array
    again: Array
    finite: Array


class AbstractAround(diffrax.AbstractAdaptiveStepSizeController):
    """A step size control around another one, with that one's tolerances and norm."""

    controller: eqx.AbstractVar[diffrax.AbstractAdaptiveStepSizeController]

    @property
    def rtol(self):
        return self.controller.rtol

    @property
    def atol(self):
        return self.controller.atol

    @property
    def norm(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.controller.norm


class Attempts(AbstractAround):
    """`controller`, but the solve ends when the retry of a rejected step would have almost no length.

    diffrax's own limit, `dtmin`, is a length; here it is relative to the time: ten units in the last place. A NaN error
    shrinks steps down to that limit.

    Attributes:
        controller: The control that chooses the step sizes.
    """

    controller: diffrax.AbstractAdaptiveStepSizeController

    def wrap(self, direction):
        return dataclasses.replace(self, controller=self.controller.wrap(direction))

    def init(self, terms, t0, t1, y0, dt0, args, func, error_order):
        t1, state = self.controller.init(terms, t0, t1, y0, dt0, args, func, error_order)
        return t1, Attempted(state, jnp.asarray(True), jnp.zeros((), jnp.int32), jnp.asarray(True))

    def adapt_step_size(self, t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state: Any):
        inner, fresh, again, _ = controller_state
        keep, t0, t1, jump, inner, result = self.controller.adapt_step_size(
            t0, t1, y0, y1_candidate, args, y_error, error_order, inner
        )
        jumped, missed = keep & jump, fresh & ~keep
        again = jnp.where(jumped | missed, again + 1, again)
        stuck = ~keep & ~(t1 - t0 > 10 * jnp.finfo(jnp.result_type(t0)).eps * jnp.abs(t0))
        ended = diffrax.RESULTS.where(stuck, diffrax.RESULTS.dt_min_reached, result)
        finite = all_finite(jax.tree.map(jax.lax.stop_gradient, y_error))
        return keep, t0, t1, jump, Attempted(inner, jumped | missed, again, finite), ended

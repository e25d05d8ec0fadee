"""Drive: what changes the field of each window from outside, its observation times and its control inputs."""

from typing import Any, Literal, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ...data.systems.windows import Course
from ...inputs import ZeroOrderHold

InputKind = Literal["hold", "linear", "cubic"]
"""Control inputs between observations: the last value, straight lines, or cubic polynomials with a continuous slope."""


class Drive(NamedTuple):
    """The args of the field `Identified`, for a window or, with a leading axis, for many. Time counts observations.

    Attributes:
        gap: The time from each observation to the next, in mean intervals: a path.
        u: The control inputs: a path; None if there are none.
    """

    gap: Any
    u: Any


def drive_of(course: Course, horizon: int, kind: InputKind) -> Drive:
    """The drive of each window over its first `horizon` intervals."""
    gap, u, u_next = (jnp.asarray(array)[:, :horizon] for array in course)
    knots = jnp.arange(horizon + 1, dtype=gap.dtype)
    each = lambda x: jnp.broadcast_to(x, (len(gap), *x.shape))
    hold = ZeroOrderHold(each(knots[:-1]), gap)
    if u.shape[2] == 0:
        return Drive(hold, None)
    if kind == "hold":
        return Drive(hold, ZeroOrderHold(each(knots[:-1]), u))
    values = jnp.concatenate([u, u_next[:, -1:]], axis=1)
    if kind == "linear":
        return Drive(hold, jax.vmap(diffrax.LinearInterpolation)(each(knots), values))
    return Drive(hold, jax.vmap(_cubic)(each(knots), gap, values))


def _cubic(knots: Array, gap: Array, values: Array) -> diffrax.CubicInterpolation:
    """The Hermite interpolation of diffrax in time, as a function of the number of the observation.

    Its slope at an observation is that of the line from the one before, so it looks back only.
    """
    t = jnp.concatenate([jnp.zeros_like(gap[:1]), jnp.cumsum(gap)])
    d, c, b, a = diffrax.backward_hermite_coefficients(t, values)
    h = gap[:, None]
    return diffrax.CubicInterpolation(knots, (d * h**3, c * h**2, b * h, a))

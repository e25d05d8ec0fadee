"""Identified: the vector field of observed data, for standardised states and in units of observation intervals."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...data.systems.windows import Course, Scaling
from .known_physics import Known

Numbers = tuple[float, ...]


class Identified(eqx.Module):
    """dz/ds of the standardised state z, where s counts observations, from one to the next.

    dz/ds = gap (interval known(x, u) / std + speed * network(z, u)) with x = mean + std z. Here interval is the mean
    time between observations, and gap is the time from this observation to the next, divided by interval. So the
    network's numbers are near one whatever the units, and samples with different times are solved together. Control
    inputs are linear between observations.

    Attributes:
        network: A field of z, whose args are the control inputs.
        known: Known physics, or None.
        mean, std, u_mean, u_std, speed, interval: From the data's `Scaling`; constants.
    """

    network: Any
    known: Known | None = eqx.field(static=True)
    mean: Numbers = eqx.field(static=True)
    std: Numbers = eqx.field(static=True)
    u_mean: Numbers = eqx.field(static=True)
    u_std: Numbers = eqx.field(static=True)
    speed: Numbers = eqx.field(static=True)
    interval: float = eqx.field(static=True)

    def __init__(self, network: Any, scaling: Scaling, known: Known | None = None):
        numbers = lambda x: tuple(float(one) for one in x)
        self.network, self.known, self.interval = network, known, scaling.interval
        self.mean, self.std, self.speed = map(numbers, (scaling.mean, scaling.std, scaling.speed))
        self.u_mean, self.u_std = numbers(scaling.u_mean), numbers(scaling.u_std)

    def __call__(self, s: Float[Array, ""], z: Float[Array, " d"], course: Course | None) -> Float[Array, " d"]:
        """dz/ds of one sample.

        Args:
            s: From 0 to 1 if there is a course.
            z: The state.
            course: The course of one interval of this sample; None for equally spaced observations without control
                inputs.
        """
        if course is None:
            return self.in_intervals(z, jnp.zeros(0, z.dtype))
        gap, u, u_next = (jnp.asarray(array).astype(z.dtype) for array in course)
        return gap * self.in_intervals(z, u + s.astype(z.dtype) * (u_next - u))

    def in_intervals(self, z: Float[Array, " d"], u: Float[Array, " k"]) -> Float[Array, " d"]:
        """dz/dt with t in mean intervals of the data, of standardised states and control inputs."""
        const = lambda numbers: jnp.asarray(numbers, z.dtype)
        slope = const(self.speed) * self.network(0.0, z, u)
        if self.known is None:
            return slope
        x, own = const(self.mean) + const(self.std) * z, const(self.u_mean) + const(self.u_std) * u
        return slope + self.interval * self.known(x, own) / const(self.std)

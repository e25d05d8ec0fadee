"""Identified: the vector field of observed data, in standardised states and counted in observations."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..data.windows import Course, Scaling
from .known_physics import Known

Numbers = tuple[float, ...]


class Identified(eqx.Module):
    """dz/ds of the standardised state z, where s counts observations: s = 2.5 is half-way from the third to the next.

    dz/ds = (dt/ds) (known(x, u) / std + speed * network(z, u) / interval) with x = mean + std z, and t in the data's
    unit. So the network's numbers are near one whatever the units are, and data sampled at irregular times, each window
    at its own, are solved together: t(s) is the smooth, monotone curve through them (Fritsch & Carlson 1980).

    Attributes:
        network: A field of z, whose args are the control inputs.
        known: Known physics, or None.
        mean, std, u_mean, u_std, speed, interval: Those of the data's `Scaling`; constants.
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
        numbers = lambda x: tuple(float(one) for one in x)  # noqa: E731
        self.network, self.known, self.interval = network, known, scaling.interval
        self.mean, self.std, self.speed = map(numbers, (scaling.mean, scaling.std, scaling.speed))
        self.u_mean, self.u_std = numbers(scaling.u_mean), numbers(scaling.u_std)

    def __call__(self, s: Float[Array, ""], z: Float[Array, " d"], course: Course | None) -> Float[Array, " d"]:
        """dz/ds of one sample; `course` is its own, None where observations are equally spaced and nothing drives."""
        if course is None:
            return self.in_intervals(z, jnp.zeros(0, z.dtype))
        rate, u = _at(course, s, z.dtype)
        return rate * self.in_intervals(z, u)

    def in_intervals(self, z: Float[Array, " d"], u: Float[Array, " k"]) -> Float[Array, " d"]:
        """dz/dt with t in mean intervals of the data, of standardised states and control inputs."""
        const = lambda numbers: jnp.asarray(numbers, z.dtype)  # noqa: E731
        slope = const(self.speed) * self.network(0.0, z, u)
        if self.known is None:
            return slope
        x, own = const(self.mean) + const(self.std) * z, const(self.u_mean) + const(self.u_std) * u
        return slope + self.interval * self.known(x, own) / const(self.std)


def _at(course: Course, s: Float[Array, ""], dtype: Any) -> tuple[Float[Array, ""], Float[Array, " k"]]:
    """dt/ds and the control inputs at s; the latter are linear in time between observations."""
    clock, rate, u = (jnp.asarray(array).astype(dtype) for array in course)
    k = jnp.clip(jnp.floor(s).astype(jnp.int32), 0, len(clock) - 2)
    a = (s - k.astype(dtype)).astype(dtype)
    gap, m0, m1 = clock[k + 1] - clock[k], rate[k], rate[k + 1]
    slope = 6 * a * (1 - a) * gap + (1 - a) * (1 - 3 * a) * m0 + a * (3 * a - 2) * m1
    passed = a * a * (3 - 2 * a) * gap + a * (1 - a) ** 2 * m0 - a * a * (1 - a) * m1
    share = passed / gap
    return slope, (1 - share) * u[k] + share * u[k + 1]

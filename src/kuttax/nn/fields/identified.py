"""Identified: the vector field of observed data, for standardised states and in units of observation intervals."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...data.systems.windows import Scaling
from .known_physics import Known

Numbers = tuple[float, ...]


class Identified(eqx.Module):
    """dz/ds of the standardised state z, where s counts observations, from one to the next.

    dz/ds = gap (interval known(x, u) / std + speed * network(z, u)) with x = mean + std z. Here interval is the mean
    time between observations, and gap is the time from this observation to the next, divided by interval. So the
    network's numbers are near one whatever the units, and samples with different times are solved together.

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

    def __call__(self, s: Float[Array, ""], z: Float[Array, " d"], drive: Any) -> Float[Array, " d"]:
        """dz/ds of one sample.

        Args:
            s: The number of observations since the start.
            z: The state.
            drive: The paths of the gap and of the control inputs, with `evaluate(s)`; the inputs may be None. None for
                equally spaced observations without control inputs.
        """
        none = jnp.zeros(0, z.dtype)
        if drive is None:
            return self.in_intervals(z, none)
        gap, inputs = drive
        u = none if inputs is None else inputs.evaluate(s).astype(z.dtype)
        return gap.evaluate(s).astype(z.dtype) * self.in_intervals(z, u)

    def in_intervals(self, z: Float[Array, " d"], u: Float[Array, " k"]) -> Float[Array, " d"]:
        """dz/dt with t in mean intervals of the data, of standardised states and control inputs."""
        const = lambda numbers: jnp.asarray(numbers, z.dtype)
        slope = const(self.speed) * self.network(0.0, z, u)
        if self.known is None:
            return slope
        x, own = const(self.mean) + const(self.std) * z, const(self.u_mean) + const(self.u_std) * u
        return slope + self.interval * self.known(x, own) / const(self.std)

"""Known physics: known parts of the systems' equations, so that a network learns only the rest."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...data.systems.kuramoto_sivashinsky import LENGTH, POINTS

Known = Callable[[Float[Array, " d"], Float[Array, " k"]], Float[Array, " d"]]
"""dx/dt of one state x under control inputs u, both in the data's own units."""


def _lorenz63(x: Array, u: Array) -> Array:
    """All but the products x z and x y."""
    del u
    return jnp.stack([10.0 * (x[1] - x[0]), 28.0 * x[0] - x[1], -8.0 / 3.0 * x[2]])


def _lorenz96(x: Array, u: Array) -> Array:
    """All but the advection x[i-1] (x[i+1] - x[i-2])."""
    del u
    return 8.0 - x


def _lotka_volterra(x: Array, u: Array) -> Array:
    """All but the encounters of prey and predator."""
    del u
    return jnp.stack([1.5 * x[0], -3.0 * x[1]])


def _pendulum(x: Array, u: Array) -> Array:
    """All but the friction."""
    del u
    return jnp.stack([x[1], -9.81 * jnp.sin(x[0])])


def _van_der_pol(x: Array, u: Array) -> Array:
    """The harmonic oscillator."""
    del u
    return jnp.stack([x[1], -x[0]])


def _kuramoto_sivashinsky(x: Array, u: Array) -> Array:
    """The advection -u u_x, by central differences; not the linear terms."""
    del u
    return -x * (jnp.roll(x, -1) - jnp.roll(x, 1)) * (POINTS / (2.0 * LENGTH))


KNOWN: dict[str, Known] = {
    "lorenz63": _lorenz63,
    "lorenz96": _lorenz96,
    "lotka-volterra": _lotka_volterra,
    "pendulum": _pendulum,
    "van-der-pol": _van_der_pol,
    "kuramoto-sivashinsky": _kuramoto_sivashinsky,
}
"""The keys are the names in `kuttax.data.systems.systems.SYSTEMS`."""

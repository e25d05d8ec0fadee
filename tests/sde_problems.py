"""Three Ito SDEs with diagonal noise side by side, each with a Wiener process of its own, and their closed forms:

geometric Brownian motion dX = MU X dt + S X dW,                     X = X0 exp((MU - S^2 / 2) t + S W);
Ornstein-Uhlenbeck        dX = -THETA X dt + S dW,                   X = e^(-THETA t) (X0 + S int e^(THETA s) dW);
a non-linear one          dX = (S^2 X / 2 + B R) dt + S R dW,        X = sinh(asinh X0 + B t + S W),
with R = sqrt(1 + X^2) (Kloeden & Platen 1992, section 4.4).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import kuttax as kx

MU, THETA, S, B = 0.8, 1.2, 0.6, 0.6
START = np.array([1.0, 3.0, 0.5])
MEAN = np.array(  # at t = 1
    [START[0] * np.exp(MU), START[1] * np.exp(-THETA), np.exp(S**2 / 2) * np.sinh(np.arcsinh(START[2]) + B)]
)
PATH_KEY = jax.random.key(2024)


def drift(t, y, args):
    x, u, v = y[..., 0], y[..., 1], y[..., 2]
    return jnp.stack([MU * x, -THETA * u, S**2 / 2 * v + B * jnp.sqrt(1 + v * v)], -1)


def diffusion(t, y, args):
    x, v = y[..., 0], y[..., 2]
    return S * jnp.stack([x, jnp.ones_like(x), jnp.sqrt(1 + v * v)], -1)


ITO = kx.SDE(drift, diffusion)


def starts(samples):
    return jnp.broadcast_to(jnp.asarray(START), (samples, 3))


@functools.cache
def truth(samples, cells):
    """The solutions at t = 1 on the path of PATH_KEY, from its cells."""
    path = kx.BrownianPath(PATH_KEY, jax.ShapeDtypeStruct((samples, 3), jnp.float64))
    add = lambda n, total: total + _in_cell(path, n, cells)
    w, integral = np.asarray(jax.jit(lambda: jax.lax.fori_loop(0, cells, add, jnp.zeros((2, samples, 3))))())
    growth = START[0] * np.exp((MU - S**2 / 2) + S * w[:, 0])
    reversion = np.exp(-THETA) * (START[1] + S * integral[:, 1])
    return np.stack([growth, reversion, np.sinh(np.arcsinh(START[2]) + B + S * w[:, 2])], -1)


def _in_cell(path, n, cells):
    """What W and the integral of e^(THETA s) dW rise by in cell n: e^(THETA s) is nearly a line there, from a to b."""
    rise, mean = (x / np.sqrt(cells) for x in path.increment(n))
    a, b = (jnp.exp(THETA * (n + end) / cells) for end in (0, 1))
    return jnp.stack([rise, b * rise - (b - a) * mean])

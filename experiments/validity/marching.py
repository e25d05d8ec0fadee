"""Marching: fixed steps written out by hand, the truth that is independent of the library's own solvers.

The number of steps is traced: one program a scheme serves every step size.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kuttax.nn import NeuralODEClassifier, augment
from kuttax.nn.cast import cast_floating
from kuttax.tasks.classification.task import accuracy

_CHUNK = 2000  # samples at once

Slope = Callable[[Any, Any], Any]


def _euler(f: Slope, t: Any, y: Any, h: Any) -> Any:
    return y + h * f(t, y)


def _midpoint(f: Slope, t: Any, y: Any, h: Any) -> Any:
    return y + h * f(t + h / 2, y + h / 2 * f(t, y))


def _rk4(f: Slope, t: Any, y: Any, h: Any) -> Any:
    k1 = f(t, y)
    k2 = f(t + h / 2, y + h / 2 * k1)
    k3 = f(t + h / 2, y + h / 2 * k2)
    k4 = f(t + h, y + h * k3)
    return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


SCHEMES = {"euler": _euler, "midpoint": _midpoint, "rk4": _rk4}


@eqx.filter_jit
def _logits(model: NeuralODEClassifier, x: Array, scheme: str, steps: Array) -> Array:
    t0, t1 = (jnp.asarray(t, x.dtype) for t in model.interval)
    h = (t1 - t0) / steps.astype(x.dtype)
    slope = jax.vmap(model.field, (None, 0))
    step = lambda n, y: SCHEMES[scheme](slope, t0 + n.astype(x.dtype) * h, y, h)
    y1 = jax.lax.fori_loop(0, steps, step, augment(x, model.augmented, axis=1))
    return jax.vmap(cast_floating(model.head, x.dtype))(y1.reshape(len(x), -1))


def logits(model: NeuralODEClassifier, x: Any, scheme: str, steps: int) -> Float[Array, "n classes"]:
    """The model's logits where `steps` equal steps of "euler", "midpoint" or "rk4" cross its interval."""
    parts = [jnp.asarray(x[i : i + _CHUNK]) for i in range(0, len(x), _CHUNK)]
    return jnp.concatenate([_logits(model, part, scheme, jnp.asarray(steps, jnp.int32)) for part in parts])


def tested(model: NeuralODEClassifier, data: Any, scheme: str, steps: int) -> float:
    """The accuracy in percent; a state that overflows counts as any wrong answer does."""
    found = jnp.nan_to_num(logits(model, data.x, scheme, steps))
    return round(float(accuracy(found, jnp.asarray(data.y))), 6)

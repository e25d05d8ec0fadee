"""Gradients held against finite differences."""

import jax
import numpy as np
from jax.flatten_util import ravel_pytree


def assert_gradient_is_a_difference(value, x, rng, eps=1e-4):
    """Along a random direction of everything, by central differences of fourth order."""
    at, unravel = ravel_pytree(x)
    along, compiled = rng.normal(size=at.shape), jax.jit(jax.value_and_grad(lambda at: value(unravel(at))))
    values = [compiled(at + s * eps * along)[0] for s in (-2, -1, 1, 2)]
    truth = np.dot([1, -8, 8, -1], values) / (12 * eps)
    assert abs(truth) > 1e-6
    np.testing.assert_allclose(np.dot(compiled(at)[1], along), truth, rtol=1e-6)

"""log_prob and sample: a normal distribution at one time, the data at the other, and the field between them."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._solve.solve import solve
from .._types import VectorField
from ..errors import UserError
from ..solvers.base.solver import AbstractSolver
from .trace import AbstractTrace
from .transport import transport


def standard_normal(z: Float[Array, "n ..."]) -> Float[Array, " n"]:
    """log N(z; 0, I) of each sample, in nats."""
    flat = z.reshape(len(z), -1)
    return -0.5 * jnp.sum(flat**2, axis=1) - 0.5 * flat.shape[1] * math.log(2 * math.pi)


def log_prob(
    field: VectorField,
    x: Float[Array, "n ..."],
    solver: AbstractSolver,
    *,
    interval: tuple[float, float] = (0.0, 1.0),
    args: Any = None,
    trace: AbstractTrace | None = None,
    key: PRNGKeyArray | None = None,
    **options: Any,
) -> Float[Array, " n"]:
    """The log-density that a flow gives to each of n samples, in nats: log N(x(t_base)) + log |det dx(t_base)/dx|.

    The solver moves the samples from the data's time back to the base's (FFJORD; Grathwohl et al., ICLR 2019). A
    learned solver must be for that direction.

    Args:
        field: `field(t, x, args) -> dx/dt`, for one sample.
        x: Samples of the data, (n, d).
        solver: From the data's time to the base's.
        interval: The times of the base, a standard normal distribution, and of the data.
        args: Passed to the field.
        trace: `Exact()` (the default), or `Hutchinson()` for an unbiased estimate at the cost of one product.
        key: For `Hutchinson`.
        options: For `kuttax.solve`: adjoint, max_steps, throw.

    Raises:
        UserError: x is not an array of samples, or a key is needed.
        SolveError: The solve failed, unless `throw=False`; the log-densities are then NaN.
    """
    base, data = interval
    z, log_det, _ = transport(field, x, data, base, solver, args=args, trace=trace, key=key, **options)
    return standard_normal(z) + log_det


def sample(
    field: VectorField,
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    solver: AbstractSolver,
    *,
    interval: tuple[float, float] = (0.0, 1.0),
    args: Any = None,
    dtype: Any = None,
    **options: Any,
) -> Float[Array, "n ..."]:
    """Draw samples: a standard normal distribution, moved from the base's time to the data's.

    Args:
        field: `field(t, x, args) -> dx/dt`, for one sample.
        key: Draws the samples.
        shape: (n, d): the number of samples, and the shape of one.
        solver: From the base's time to the data's.
        interval: The times of the base and of the data.
        args: Passed to the field.
        dtype: Dtype of the samples; None for JAX's default.
        options: For `kuttax.solve`: max_steps, throw.

    Raises:
        UserError: The shape has no samples.
        SolveError: The solve failed, unless `throw=False`; the samples are then NaN.
    """
    if len(shape) < 2 or min(shape) < 1:
        raise UserError(f"shape must be (n, d), at least one sample of at least one number, got {shape}")
    z = jax.random.normal(key, shape, jnp.result_type(float) if dtype is None else dtype)
    return solve(field, z, *interval, solver=solver, args=args, batch_axis=0, **options).y1

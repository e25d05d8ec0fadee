"""Transport: moves states along a field, with the change of their log-density as part of the state."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._solve.solve import solve
from .._types import VectorField
from ..errors import UserError
from ..penalties.base import AbstractPenalty, Penalties
from ..solvers.base.solution import Solution
from ..solvers.base.solver import AbstractSolver
from .trace import AbstractTrace, Exact


class Transported(NamedTuple):
    """The result of moving n states.

    Attributes:
        x: The states at t1, shaped like those at t0.
        log_det: log |det dx(t1)/dx(t0)|, (n,). If p is the states' density, then log p(x(t0)) = log p(x(t1)) + log_det.
        solution: Cost, status and penalty of the solve; its state is the pair (x, log_det).
    """

    x: Float[Array, "n ..."]
    log_det: Float[Array, " n"]
    solution: Solution


class Augmented(eqx.Module):
    """d/dt (x, log_det) = (f(t, x), tr df/dx), for one state.

    The instantaneous change of variables (Chen, Rubanova, Bettencourt & Duvenaud, NeurIPS 2018, theorem 1).

    Attributes:
        field: f, any callable.
        trace: How the trace is computed.
    """

    field: VectorField
    trace: AbstractTrace

    def __call__(self, t: Any, state: tuple[Array, Array], args: tuple[Any, Any]) -> tuple[Array, Array]:
        (x, _), (args, noise) = state, args
        return self.trace(lambda x: self.field(t, x, args), x, noise)


def augmented(
    field: VectorField,
    x: Float[Array, "n ..."],
    args: Any = None,
    trace: AbstractTrace | None = None,
    key: PRNGKeyArray | None = None,
) -> tuple[Augmented, tuple[Array, Array], tuple[Any, Any]]:
    """The field, the initial state and the args of a solve that also integrates the log-density.

    The noise of an estimated trace is in the args, one for each sample (`args_axes=(None, 0)`), the same for the whole
    solve. `transport` solves it; use it directly for penalties, output times or distillation.

    Args:
        field: `field(t, x, args) -> dx/dt`, for one state.
        x: n states, floating point.
        args: Passed to the field.
        trace: `Exact()` (the default) or `Hutchinson()`.
        key: For `Hutchinson`.

    Raises:
        UserError: x is not an array of samples, or a key is needed.
    """
    if not isinstance(x, jax.Array | np.ndarray) or x.ndim < 2 or not jnp.issubdtype(x.dtype, jnp.floating):
        got = f"{getattr(x, 'dtype', type(x).__name__)} of shape {np.shape(x)}"
        raise UserError(f"x must be floating-point samples of shape (n, d), got {got}")
    x, trace = jnp.asarray(x), Exact() if trace is None else trace
    return Augmented(field, trace), (x, jnp.zeros(len(x), x.dtype)), (args, trace.noise(key, x))


def transport(
    field: VectorField,
    x: Float[Array, "n ..."],
    t0: Any,
    t1: Any,
    solver: AbstractSolver,
    *,
    args: Any = None,
    trace: AbstractTrace | None = None,
    penalty: AbstractPenalty | Penalties | None = None,
    key: PRNGKeyArray | None = None,
    **options: Any,
) -> Transported:
    """Move n states from t0 to t1, forwards or backwards, with the change of their log-density.

    Args:
        field, x, args, trace: As for `augmented`.
        t0, t1: Start and end.
        solver: Solves for states and log-density together; both count in an adaptive solver's error.
        penalty: As for `kuttax.solve`; it sees the state (x, log_det).
        key: For `Hutchinson`, and for the penalty.
        options: For `kuttax.solve`: adjoint, max_steps, throw.

    Raises:
        UserError: As `augmented` and `kuttax.solve`.
        SolveError: The solve failed, unless `throw=False`.
    """
    noise_key, penalty_key = (None, None) if key is None else tuple(jax.random.split(key))
    whole, state, args = augmented(field, x, args, trace, noise_key)
    asked = {} if penalty is None else {"penalty": penalty, "key": penalty_key}
    solution = solve(
        whole, state, t0, t1, solver=solver, args=args, batch_axis=0, args_axes=(None, 0), **asked, **options
    )
    moved, log_det = solution.y1
    return Transported(moved, log_det, solution)

"""A neural controlled differential equation: a path, the state that it drives, and a readout at its end."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._solve.solve import solve
from ..solvers.base.solution import Solution
from ..solvers.base.solver import AbstractSolver
from ..solvers.base.spread import spread
from .cast import cast_floating
from .fields.controlled import ControlledField
from .fields.layer_stack import apply_layers


class NeuralCDE(eqx.Module):
    """`output = W z(T) + b` with `dz/ds = f(z) dX/ds` and `z(0) = g(X(0))`, for a path X.

    Kidger, Morrill, Foster & Lyons (Neural controlled differential equations for irregular time series, NeurIPS 2020,
    arXiv 2005.08926).

    Attributes:
        initial: The layers of g, tanh between them.
        field: f.
        head: The affine map from the last state to the outputs.
    """

    initial: tuple[eqx.nn.Linear, ...]
    field: ControlledField
    head: eqx.nn.Linear

    def __init__(
        self, points: int, channels: int, outputs: int, size: int, width: int, depth: int, *, key: PRNGKeyArray
    ):
        """Draws fresh float32 weights.

        Args:
            points: Channels of the path.
            channels: Entries of dX/ds; more than `points` with log-signatures.
            outputs: Number of outputs.
            size: Entries of the state.
            width: Units of each hidden layer, of g and of f.
            depth: Number of hidden layers of f; g has one.
            key: Draws the weights.
        """
        first_key, last_key, field_key, head_key = jax.random.split(key, 4)
        linear = lambda inputs, outputs, key: eqx.nn.Linear(inputs, outputs, dtype=jnp.float32, key=key)
        self.initial = linear(points, width, first_key), linear(width, size, last_key)
        self.field = ControlledField(size, channels, width, depth, key=field_key)
        self.head = linear(size, outputs, head_key)

    def start(self, points: Float[Array, "n points"]) -> Float[Array, "n size"]:
        """The states at the start of these paths, from their first points."""
        return jax.vmap(lambda x: apply_layers(self.initial, jnp.tanh, 0.0, x, time_dependent=False))(points)

    def cross(
        self,
        solver: AbstractSolver,
        start: Float[Array, "n points"],
        rates: Float[Array, "n windows powers channels"],
        **solve_options: Any,
    ) -> Solution:
        """The solution along each path, for s from 0 to the number of windows.

        Args:
            solver: Fixed steps are taken in each window of a linear path; over the whole of a cubic one.
            start, rates: See `kuttax.data.series.controls.Controls`.
            solve_options: For `kuttax.solve`.
        """
        _, windows, powers, _ = rates.shape
        options = {"args": jnp.asarray(rates), "args_axes": 0, "batch_axis": 0, "jumps": jumps(windows, powers)}
        options |= {"solver": solver, **solve_options}
        return solve(self.field, self.start(jnp.asarray(start)), 0.0, float(windows), **options)

    def __call__(
        self,
        solver: AbstractSolver,
        start: Float[Array, "n points"],
        rates: Float[Array, "n windows powers channels"],
        **solve_options: Any,
    ) -> tuple[Float[Array, "n outputs"], Solution]:
        """The outputs, and the solution behind them; NaN if it did not reach the end. Arguments as for `cross`."""
        solution = self.cross(solver, start, rates, **solve_options)
        # Through the head a NaN of one sample would spread to the gradient of all.
        lost = spread(solution.status != 0, solution.y1)
        end = jnp.where(lost, 0, solution.y1)
        outputs = jax.vmap(cast_floating(self.head, end.dtype))(end)
        return jnp.where(spread(solution.status != 0, outputs), jnp.nan, outputs), solution


def jumps(windows: int, powers: int) -> np.ndarray | None:
    """The values of s at which dX/ds jumps; None if it does not."""
    return np.arange(1.0, windows) if powers == 1 and windows > 1 else None

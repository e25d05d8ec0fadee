"""A neural SDE as classifier."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray

from .._solve.solve import solve
from ..errors import UserError
from ..solvers.base.solution import Solution
from ..solvers.base.solver import AbstractSolver
from ..solvers.base.spread import spread
from ..solvers.sde.sde import SDE, Calculus
from .cast import cast_floating
from .fields.mlp import MLPField


class NeuralSDEClassifier(eqx.Module):
    """`logits = W y(1) + b` with `dy = f(y) dt + g(y) dW` and `y(0) = U x + c`; diagonal noise.

    f is a multilayer perceptron with one hidden layer (tanh), g an affine map, both autonomous. With 784 features, 32
    states and width 64 it is the MNIST SDE of Pal, Edelman & Rackauckas (ICML 2023, arXiv 2303.02262).

    Attributes:
        down: The affine map from the features to the start.
        sde: The SDE of one sample.
        head: The affine map from the end to the logits.
    """

    down: eqx.nn.Linear
    sde: SDE
    head: eqx.nn.Linear

    def __init__(
        self,
        features: int,
        states: int,
        width: int,
        classes: int,
        *,
        calculus: Calculus,
        key: PRNGKeyArray,
        dtype: DTypeLike = jnp.float32,
    ):
        """Draws the weights as `equinox.nn.Linear` does.

        Args:
            features: Number of features of an input.
            states: Entries of the state, each with its own Wiener process.
            width: Hidden units of the drift.
            classes: Number of classes, at least 2.
            calculus: The calculus of the SDE.
            key: Draws the initial weights.
            dtype: Dtype of the weights; the computation follows the input's dtype.

        Raises:
            UserError: A size is out of range.
        """
        if classes < 2:
            raise UserError(f"a classifier needs at least 2 classes, got {classes}")
        down, drift, diffusion, head = jax.random.split(key, 4)
        self.down = eqx.nn.Linear(features, states, dtype=dtype, key=down)
        autonomous = {"time_dependent": False, "dtype": dtype}
        self.sde = SDE(
            MLPField(states, width, 1, key=drift, **autonomous),
            MLPField(states, 1, 0, key=diffusion, **autonomous),
            calculus=calculus,
        )
        self.head = eqx.nn.Linear(states, classes, dtype=dtype, key=head)

    def __call__(
        self, solver: AbstractSolver, x: Float[Array, "n features"], key: PRNGKeyArray, **solve_options: Any
    ) -> tuple[Float[Array, "n classes"], Solution]:
        """The logits of a batch, and the solution behind them; NaN if it did not reach the end.

        Args:
            solver: Solves over the interval from 0 to 1.
            x: Inputs.
            key: Draws the noise.
            solve_options: For `kuttax.solve`: adjoint, max_steps, penalty, throw.

        Raises:
            SolveError: The solve fails, unless `throw=False`.
        """
        down, head = cast_floating((self.down, self.head), x.dtype)
        solution = solve(self.sde, jax.vmap(down)(x), 0.0, 1.0, solver=solver, batch_axis=0, key=key, **solve_options)
        # Through the head a NaN would spread to the gradient of all samples.
        lost = solution.status != 0
        logits = jax.vmap(head)(jnp.where(spread(lost, solution.y1), 0, solution.y1))
        return jnp.where(spread(lost, logits), jnp.nan, logits), solution

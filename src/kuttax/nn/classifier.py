"""A neural ODE as classifier."""

from collections.abc import Sequence
from math import prod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray

from .._solve.solve import solve
from .._types import VectorField
from ..errors import UserError
from ..solvers.base.solution import Solution
from ..solvers.base.solver import AbstractSolver
from ..solvers.base.spread import spread
from .augment import augment
from .cast import cast_floating


class NeuralODEClassifier(eqx.Module):
    """`logits = W y(1) + b` with `dy/dt = field(t, y)` and `y(0) = x`, optionally augmented by zeros.

    Chen, Rubanova, Bettencourt, Duvenaud (Neural Ordinary Differential Equations, NeurIPS 2018), with no network before
    the solve.

    Attributes:
        field: The vector field, written for one sample of the augmented shape.
        head: The affine map from the flattened end state to the logits.
        augmented: Zeros appended to the features or channels of each sample.
        interval: The times at which the solve starts and ends.
    """

    field: VectorField
    head: eqx.nn.Linear
    augmented: int = eqx.field(static=True)
    interval: tuple[float, float] = eqx.field(static=True)

    def __init__(
        self,
        field: VectorField,
        sample_shape: Sequence[int],
        classes: int,
        *,
        key: PRNGKeyArray,
        augmented: int = 0,
        interval: tuple[float, float] = (0.0, 1.0),
        he_head: bool = False,
        dtype: DTypeLike = jnp.float32,
    ):
        """Keeps the field and draws the head.

        Args:
            field: See the attribute.
            sample_shape: Shape of one input, `(features,)` or `(channels, height, width)`, without augmented ones.
            classes: Number of classes, at least 2.
            key: Draws the head's initial weights.
            augmented: See the attribute.
            interval: See the attribute.
            he_head: Whether the head starts with normal weights of variance 2 / inputs (He et al., ICCV 2015) and no
                bias; else as `equinox.nn.Linear` does.
            dtype: Dtype of the head's weights; the computation follows the input's dtype.

        Raises:
            UserError: There are fewer than 2 classes, or `augmented` is negative.
        """
        if classes < 2:
            raise UserError(f"a classifier needs at least 2 classes, got {classes}")
        if augmented < 0:
            raise UserError(f"augmented dimensions must be >= 0, got {augmented}")
        channels, *rest = sample_shape
        self.field = field
        inputs = prod([channels + augmented, *rest])
        head = eqx.nn.Linear(inputs, classes, dtype=dtype, key=key)
        if he_head:
            weight = (2 / inputs) ** 0.5 * jax.random.normal(key, (classes, inputs), dtype)
            head = eqx.tree_at(lambda head: (head.weight, head.bias), head, (weight, jnp.zeros(classes, dtype)))
        self.head = head
        self.augmented = augmented
        self.interval = interval

    def start(self, x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """The initial state for a batch of inputs: the inputs, augmented by zeros."""
        return augment(x, self.augmented, axis=1)

    def __call__(
        self, solver: AbstractSolver, x: Float[Array, "n ..."], **solve_options: Any
    ) -> tuple[Float[Array, "n classes"], Solution]:
        """The logits of a batch, and the solution behind them; NaN if it did not reach the end.

        Args:
            solver: Solves over `interval`.
            x: Inputs, shape `(n, *sample_shape)`.
            solve_options: For `kuttax.solve`: adjoint, max_steps, throw.

        Raises:
            SolveError: The solve fails, unless `throw=False`.
        """
        solution = solve(self.field, self.start(x), *self.interval, solver=solver, batch_axis=0, **solve_options)
        head = cast_floating(self.head, x.dtype)
        # Through the head a NaN of one sample would spread to the gradient of all.
        lost = solution.status != 0
        end = jnp.where(spread(lost, solution.y1), 0, solution.y1).reshape(x.shape[0], -1)
        logits = jax.vmap(head)(end)
        return jnp.where(spread(lost, logits), jnp.nan, logits), solution

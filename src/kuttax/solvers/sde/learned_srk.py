"""LearnedSRK: a stochastic Runge-Kutta scheme with free coefficients, of guaranteed strong order."""

import dataclasses
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..._types import State, Time
from ...errors import UserError
from ...shown import counted
from ..base.numbers import as_list, floating, parameter_dtype
from ..base.registry import register_solver
from ..rk.chart import MOST_CONDITION, MOST_DRIFT, moderate
from ..rk.order import nearest
from .fixed_sde import AbstractSDESolver, Draw
from .sde import Calculus, Noise, Terms
from .srk import srk_step
from .srk_tableau import SRI1W1, SRKTableau, Used

# Roessler 2010, theorem 5.1: alpha e = 1; beta^k e and beta^k B^1 e for k = 1 to 4. Linear in the weights.
_SUMS = ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (0.0, 0.0))


_DATA = {"start": str, "steps": int, "refine": int, "dtype": str, "lower": [[[float]]], "weights": [[[float]]]}


@register_solver(_DATA)
class LearnedSRK(AbstractSDESolver):
    """Trainable coefficients of Rößler's SRI family: strong order 1 and weak order 1 hold by construction.

    The free parameters are all matrices below their diagonals, and the weights. The weights are projected onto the
    order conditions up to strong order 1, which are linear in them (Rößler 2010, theorem 5.1), as in `LearnedRK` for
    ODEs; c = A e. For Ito SDEs. Build one with `LearnedSRK.from_tableau`. A step evaluates drift and diffusion once for
    each stage.

    Attributes:
        lower: The entries of A0, B0, A1 and B1 below the diagonal, (rows, 4, s (s - 1) / 2).
        weights: alpha and the four beta before the projection, (rows, 5, s).
        name: The name of the tableau that it started at.
    """

    learned: ClassVar[bool] = True
    lower: Array
    weights: Array
    name: str = eqx.field(static=True)
    noises: ClassVar[tuple[Noise, ...]] = ("diagonal", "scalar", "additive")
    calculi: ClassVar[tuple[Calculus, ...]] = ("ito",)
    uses_mean: ClassVar[bool] = True
    strong_order: ClassVar[float] = 1.0

    @classmethod
    def from_tableau(
        cls,
        tableau: SRKTableau = SRI1W1,
        *,
        steps: int,
        refine: int = 1,
        per_step: bool = False,
        dtype: Any = None,
    ) -> "LearnedSRK":
        """A learned scheme that starts as `steps` steps of `tableau`.

        Args:
            tableau: A tableau of the SRI family, with c = A e.
            steps: The number of steps on one interval.
            refine: Cells of the Brownian path in a step.
            per_step: Give each step its own coefficients, instead of one set for all steps.
            dtype: Dtype of the free parameters; None for JAX's default.

        Raises:
            UserError: The tableau has no strong order 1 with its B1, or its nodes are not A e.
        """
        dtype = parameter_dtype(dtype)
        rows = np.stack([np.ones(tableau.stages), tableau.b1.sum(1)])
        if not (np.linalg.cond(rows) <= MOST_CONDITION and np.allclose(tableau.c1, tableau.a1.sum(1))):
            raise UserError("the tableau cannot keep strong order 1 by its weights alone: start at SRI1W1")
        below = np.tril_indices(tableau.stages, -1)
        lower = np.stack([x[below] for x in (tableau.a0, tableau.b0, tableau.a1, tableau.b1)])
        weights = np.concatenate([tableau.alpha[None], tableau.beta])
        copies = lambda x: jnp.asarray(np.stack([x] * (steps if per_step else 1)), dtype)
        return cls(steps, copies(lower), copies(weights), tableau.name, refine=refine)

    @property
    def stages(self) -> int:
        """The number of stages s."""
        return self.weights.shape[-1]

    def rows(self, dtype) -> tuple[SRKTableau, Array]:
        tableaus, sound = jax.vmap(self._coefficients)(self.lower, self.weights)
        repeats = self.steps // len(self.lower)
        return jax.tree.map(lambda x: jnp.repeat(x.astype(dtype), repeats, axis=0), tableaus), jnp.all(sound)

    def step(self, terms: Terms, t: Time, y: State, h: Time, draw: Draw, row: Any) -> State:
        return srk_step(row, terms, t, y, h, draw)

    def with_steps(self, steps: int) -> "LearnedSRK":
        if len(self.lower) > 1:
            raise UserError(
                "own coefficients a step belong to their steps: use LearnedSRK.from_tableau(..., per_step=False)"
            )
        return dataclasses.replace(self, steps=steps)

    def to_data(self) -> dict[str, Any]:
        free = {"lower": as_list(self.lower), "weights": as_list(self.weights)}
        size = {"steps": self.steps, "refine": self.refine, "dtype": str(self.lower.dtype)}
        return {**size, "start": self.name, **free}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "LearnedSRK":
        lower, weights = (jnp.asarray(np.array(data[name]), floating(data["dtype"])) for name in ("lower", "weights"))
        solver = cls(data["steps"], lower, weights, data["start"], refine=data["refine"])
        (rows, _, below), s = lower.shape, solver.stages
        if lower.shape[1] != 4 or weights.shape != (rows, 5, s) or below != s * (s - 1) // 2 or solver.steps % rows:
            raise ValueError("parameters that do not fit each other")
        if not all(np.isfinite(leaf).all() for leaf in (lower, weights)):
            raise ValueError("parameters that are not finite")
        return solver

    def evaluations(self, noise: Noise) -> tuple[int, int]:
        del noise
        return self.stages, self.stages

    def _coefficients(self, lower: Array, weights: Array) -> tuple[SRKTableau, Array]:
        s = self.stages
        below = np.tril_indices(s, -1)
        a0, b0, a1, b1 = (jnp.zeros((s, s), x.dtype).at[below].set(x) for x in lower)
        one = jnp.ones(s, lower.dtype)
        alpha, _ = nearest(weights[0], one[None], jnp.ones(1, lower.dtype))
        sums = jnp.asarray(_SUMS, lower.dtype)
        beta, condition = jax.vmap(nearest, (0, None, 0))(weights[1:], jnp.stack([one, b1.sum(1)]), sums)
        tableau = SRKTableau(a0, b0, a1, b1, a0.sum(1), a1.sum(1), alpha, beta, _all_used(s), self.name)
        return tableau, jnp.all(condition < MOST_DRIFT) & moderate(lower, alpha, beta)

    def __str__(self) -> str:
        kind = "own coefficients a step" if self.lower.shape[0] > 1 else "shared coefficients"
        size = f"{counted(self.stages, 'stage')} x {counted(self.steps, 'step')}"
        return f"LearnedSRK from {self.name}: strong order 1, {size}, {kind}"


def _all_used(s: int) -> Used:
    lower = tuple(tuple(j < i for j in range(s)) for i in range(s))
    return Used(lower, lower, lower, lower, (True,) * s, ((True,) * s,) * 4)

"""Couplings: how noise and samples are paired in flow matching."""

import functools
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy  # which imports each of its parts when it is used
from jaxtyping import Array, Float

from ..errors import UserError
from ..extras import imported

CouplingKind = Literal["independent", "optimal", "semidiscrete"]

Rows = Float[Array, "n d"]


class Coupling(Protocol):
    """Which sample a line from noise leads to."""

    def pairs(self, noise: Rows, x: Rows, known: Rows) -> tuple[Rows, Rows]:
        """Noise and the samples that it leads to, row by row.

        Args:
            noise: As many rows as `x`.
            x: The samples of a batch.
            known: All samples of the training set.
        """
        ...


@dataclass(frozen=True)
class Independent:
    """Any noise leads to any sample."""

    def pairs(self, noise: Rows, x: Rows, known: Rows) -> tuple[Rows, Rows]:
        del known
        return noise, x


@dataclass(frozen=True)
class Optimal:
    """The optimal-transport coupling of a batch (Tong et al., TMLR 2024, arXiv 2302.00482; Pooladian et al., ICML
    2023)."""

    def pairs(self, noise: Rows, x: Rows, known: Rows) -> tuple[Rows, Rows]:
        del known
        return optimal(noise, x), x


@dataclass(frozen=True)
class Semidiscrete:
    """The optimal-transport coupling of all noise with the training set (Zhang et al. 2025, arXiv 2509.25519).

    Noise z leads to the sample j with the largest g_j - |z - x_j|^2. The potential g, one number for each sample, makes
    all of them equally probable. ott-jax finds it once, before training, by stochastic gradients, so nearly: of 10,000
    samples in eight clusters, each cluster gets its share to 1 %, while single samples get more or less than their
    neighbours. Then the coupling costs one product of a batch with the training set. The samples of the batch itself do
    not matter.

    Attributes:
        seed: Draws the noise that g is found with.
        iterations: Steps of Adam; None for 2,000, and more where 2,000 draw less noise than 50 for each sample.
    """

    seed: int = 0
    iterations: int | None = None

    def pairs(self, noise: Rows, x: Rows, known: Rows) -> tuple[Rows, Rows]:
        del x
        with jax.ensure_compile_time_eval():
            g = jnp.asarray(_potential(_Hashed(np.asarray(known)), self.seed, self.iterations), noise.dtype)
        points = jnp.asarray(known, noise.dtype)
        nearest = jnp.argmax((g - jnp.sum(points**2, axis=1))[None] + 2 * noise @ points.T, axis=1)
        return noise, points[nearest]


def coupling_of(kind: CouplingKind) -> Coupling:
    """The coupling of this name."""
    return {"independent": Independent, "optimal": Optimal, "semidiscrete": Semidiscrete}[kind]()


def optimal(noise: Float[Array, "n ..."], x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
    """The noise in the order that minimises the sum over i of |noise_i - x_i|^2.

    SciPy computes the assignment on the host; n^3 operations.
    """
    order = jax.pure_callback(_assigned, jax.ShapeDtypeStruct((len(x),), np.int32), noise, x)
    return noise[jax.lax.stop_gradient(order)]


def _assigned(noise: np.ndarray, x: np.ndarray) -> np.ndarray:
    """For each sample the index of its noise."""
    a, b = (np.asarray(array, np.float64).reshape(len(array), -1) for array in (x, noise))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):  # no assignment is possible; the loss is then not finite
        return np.arange(len(a), dtype=np.int32)
    cost = np.sum(a**2, axis=1)[:, None] - 2 * a @ b.T + np.sum(b**2, axis=1)[None]
    return scipy.optimize.linear_sum_assignment(cost)[1].astype(np.int32)


_RATE = 0.01  # of Adam, as a share of the standard deviation of the costs
_BATCH = 256
_MOST_POINTS = 50_000


class _Hashed:
    """Points as an argument of a cache."""

    def __init__(self, x: np.ndarray):
        self.x, self._bytes = x, x.tobytes()

    def __hash__(self) -> int:
        return hash(self._bytes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hashed) and self._bytes == other._bytes and self.x.shape == other.x.shape


@functools.lru_cache(maxsize=4)
def _potential(points: _Hashed, seed: int, iterations: int | None) -> np.ndarray:
    """The potential of the coupling of normal noise with these points.

    Raises:
        UserError: ott-jax is not installed, or there are too many points.
    """
    cloud, problem, solver = _ott()
    x = np.asarray(points.x, np.float32)
    if len(x) > _MOST_POINTS:
        raise UserError(
            f"the coupling 'semidiscrete' compares all noise with all of {len(x):,} samples, and takes at most "
            f"{_MOST_POINTS:,}: take 'optimal'"
        )
    iterations = max(2000, 50 * len(x) // _BATCH) if iterations is None else iterations
    spread = 2 * float(np.sqrt(np.mean(np.sum(x**2, axis=1))))  # of 2 z.x, in which the costs of one z differ
    optimiser = optax.adam(optax.cosine_decay_schedule(_RATE * spread, iterations, 1e-3))
    draw = lambda key, shape, dtype: jax.random.normal(key, shape, dtype)
    find = solver(
        num_iterations=iterations,
        batch_size=_BATCH,
        optimizer=optimiser,
        error_eval_every=iterations,  # it runs to the end
    )
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        found = jax.jit(find)(jax.random.key(seed), problem(cloud(draw, jnp.asarray(x), epsilon=0.0)))
    return np.asarray(found.g)


def _ott() -> tuple[Any, Any, Any]:
    about = {"of": "ott-jax", "extra": "ott", "needs": "the coupling 'semidiscrete'", "instead": "take 'optimal'"}
    part: Any = functools.partial(imported, **about)
    cloud = part("ott.geometry.semidiscrete_pointcloud")
    problem = part("ott.problems.linear.semidiscrete_linear_problem")
    solver = part("ott.solvers.linear.semidiscrete")
    return cloud.SemidiscretePointCloud, problem.SemidiscreteLinearProblem, solver.SemidiscreteSolver

"""Guards: how the compiled steps treat weights and optimiser state after a failed optimiser step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from .settings import Settings


class Point(NamedTuple):
    """The weights and the optimiser's state."""

    varied: PyTree
    optimiser: PyTree


class Judged(NamedTuple):
    """The failure log of one optimiser step.

    Attributes:
        status: The solve's status from the task: a scalar, or one for each sample.
        failed: Whether the whole batch is unused.
        lost: The number of unused samples: all of them if the step failed.
        finite: Whether the gradient and its square are finite.
    """

    status: Int[Array, "*samples"]
    failed: Bool[Array, ""]
    lost: Int[Array, ""]
    finite: Bool[Array, ""]


def judged(loss: Array, logs: Mapping[str, Array], gradient: PyTree, samples: int, *, tolerant: bool) -> Judged:
    """Whether an optimiser step failed: its loss or gradient is not finite, or its solve did not reach the end.

    A gradient whose square overflows counts as not finite: Adam would never forget it.

    If the task logs one status for each sample, its loss is the mean over the samples that reached the end. A tolerant
    policy then leaves out only the others, as long as they are at most half of the batch.
    """
    status = jnp.asarray(logs["status"])
    short = status != 0
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf**2)) for leaf in jax.tree.leaves(gradient)]))
    unsolved = 2 * jnp.sum(short) > short.size if tolerant else jnp.any(short)
    failed = unsolved | ~jnp.isfinite(loss) | ~finite
    return Judged(status, failed, jnp.where(failed, samples, jnp.sum(short) if short.ndim else 0), finite)


class Guard(Protocol):
    """A policy in the compiled program; `own` is the policy's state between steps."""

    def begin(self, point: Point) -> Any:
        """The policy's state before the first step from this point."""
        ...

    def went_on(self, own: Any, point: Point) -> Any:
        """The policy's state after weights and optimiser have moved to another solver."""
        ...

    def scaled(self, updates: PyTree, own: Any) -> PyTree:
        """The optimiser's updates, scaled to the current learning rate."""
        ...

    def after(self, failed: Array, old: Point, new: Point, own: Any, number: Array) -> tuple[Point, Any]:
        """The next point after optimiser step `number`, counted from 0, which led from `old` to `new` or failed."""
        ...

    def lr_scale(self, own: Any) -> float:
        """The factor on the learning rate."""
        ...


@dataclass(frozen=True)
class Keep:
    """A failed step leaves weights and optimiser unchanged, as if its batch did not exist."""

    def begin(self, point: Point) -> tuple[()]:
        """Nothing."""
        return ()

    def went_on(self, own: tuple[()], point: Point) -> tuple[()]:
        """Nothing."""
        return own

    def scaled(self, updates: PyTree, own: tuple[()]) -> PyTree:
        """The updates, unchanged."""
        return updates

    def after(self, failed: Array, old: Point, new: Point, own: tuple[()], number: Array) -> tuple[Point, tuple[()]]:
        """The old point if the step failed."""
        return _either(failed, old, new), own

    def lr_scale(self, own: tuple[()]) -> float:
        """One."""
        return 1.0


class Rolled(NamedTuple):
    """The state of `Rollback`.

    Attributes:
        scale: The factor on the learning rate.
        good: The point to return to after a failure: training went on from it for a whole interval without one.
        newer: The point that becomes `good` after such an interval.
    """

    scale: Float[Array, ""]
    good: Point
    newer: Point


@dataclass(frozen=True)
class Rollback:
    """A failed step returns to an earlier point, and training continues with the next batch, at a smaller rate.

    The batches since that point are not repeated, as in Chowdhery et al. (PaLM, arXiv 2204.02311, section 5.1) after a
    loss spike: they may have caused the failure, and training always ends after the same number of steps.

    Every `every`-th step stores a point. It counts as good after `every` further steps without failure: weights from
    which the very next step fails are no use.

    Attributes:
        factor: The factor on the learning rate at each failure.
        every: Optimiser steps between stored points.
    """

    factor: float
    every: int = 20

    def begin(self, point: Point) -> Rolled:
        """All points are the start of training."""
        return Rolled(jnp.ones((), jnp.float32), _copied(point), _copied(point))

    def went_on(self, own: Rolled, point: Point) -> Rolled:
        """Points of another solver do not fit this one: all points become the current one."""
        return Rolled(own.scale, _copied(point), _copied(point))

    def scaled(self, updates: PyTree, own: Rolled) -> PyTree:
        """The updates times the factor: Adam's updates are proportional to its learning rate."""
        return jax.tree.map(lambda update: own.scale.astype(update.dtype) * update, updates)

    def after(self, failed: Array, old: Point, new: Point, own: Rolled, number: Array) -> tuple[Point, Rolled]:
        """The last good point if the step failed."""
        due = number % self.every == 0
        good, newer = _either(due, own.newer, own.good), _either(due, old, own.newer)
        scale = jnp.where(failed, self.factor * own.scale, own.scale)
        return _either(failed, good, new), Rolled(scale, good, _either(failed, good, newer))

    def lr_scale(self, own: Rolled) -> float:
        """The current factor."""
        return float(own.scale)


def guard_of(settings: Settings) -> Guard:
    """The guard of these settings; a run that ends at the first failure needs none."""
    return Rollback(settings.rollback_lr) if settings.on_failure == "rollback" else Keep()


def _either(condition: Array, one: PyTree, other: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)


def _copied(point: Point) -> Point:
    """A copy: a dispatch consumes its buffers, so none may be passed twice."""
    return jax.tree.map(jnp.array, point)

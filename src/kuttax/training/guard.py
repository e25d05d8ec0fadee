"""Guards: what becomes of weights and optimiser where an optimiser step failed, inside of the compiled steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from .settings import Settings


class Point(NamedTuple):
    """The weights, and the optimiser's state beside them."""

    varied: PyTree
    optimiser: PyTree


class Judged(NamedTuple):
    """What one optimiser step logs about failures.

    Attributes:
        status: The solve's, as the task logs it: a scalar, or one a sample.
        failed: Whether nothing is learned from this batch.
        lost: How many of its samples are not learned from: all of them where it failed.
        finite: Whether the gradient is, and its square.
    """

    status: Int[Array, "*samples"]
    failed: Bool[Array, ""]
    lost: Int[Array, ""]
    finite: Bool[Array, ""]


def judged(loss: Array, logs: Mapping[str, Array], gradient: PyTree, samples: int, *, tolerant: bool) -> Judged:
    """Whether an optimiser step failed: its loss or gradient is not finite, or its solve did not reach the end.

    A gradient whose square overflows counts as not finite: Adam would never forget it.

    Where the task logs one status a sample, its loss is the mean over those that reached the end, and a tolerant policy
    loses the others alone, as long as they are not more than half of the batch.
    """
    status = jnp.asarray(logs["status"])
    short = status != 0
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf**2)) for leaf in jax.tree.leaves(gradient)]))
    unsolved = 2 * jnp.sum(short) > short.size if tolerant else jnp.any(short)
    failed = unsolved | ~jnp.isfinite(loss) | ~finite
    return Judged(status, failed, jnp.where(failed, samples, jnp.sum(short) if short.ndim else 0), finite)


class Guard(Protocol):
    """A policy in the compiled program; `own` is what it carries from step to step."""

    def begin(self, point: Point) -> Any:
        """What it carries before the first step from this point."""
        ...

    def went_on(self, own: Any, point: Point) -> Any:
        """What it carries from here on, where weights and optimiser have become those of another solver."""
        ...

    def scaled(self, updates: PyTree, own: Any) -> PyTree:
        """The optimiser's updates, with the learning rate as it is now."""
        ...

    def after(self, failed: Array, old: Point, new: Point, own: Any, number: Array) -> tuple[Point, Any]:
        """Where to go on after optimiser step `number`, counted from 0, which led from `old` to `new` or failed."""
        ...

    def lr_scale(self, own: Any) -> float:
        """What the learning rate is multiplied by."""
        ...


@dataclass(frozen=True)
class Keep:
    """A failed step leaves weights and optimiser as they were: training on the batches without that one."""

    def begin(self, point: Point) -> tuple[()]:
        """Nothing."""
        return ()

    def went_on(self, own: tuple[()], point: Point) -> tuple[()]:
        """Nothing."""
        return own

    def scaled(self, updates: PyTree, own: tuple[()]) -> PyTree:
        """The updates as they are."""
        return updates

    def after(self, failed: Array, old: Point, new: Point, own: tuple[()], number: Array) -> tuple[Point, tuple[()]]:
        """The old point where the step failed."""
        return _either(failed, old, new), own

    def lr_scale(self, own: tuple[()]) -> float:
        """One."""
        return 1.0


class Rolled(NamedTuple):
    """What `Rollback` carries.

    Attributes:
        scale: What the learning rate is multiplied by.
        good: Where a failure leads back to: it has survived a whole interval.
        newer: What is good once it has, too.
    """

    scale: Float[Array, ""]
    good: Point
    newer: Point


@dataclass(frozen=True)
class Rollback:
    """A failed step leads back to an earlier point, and training goes on with the next batch, at a smaller rate.

    The batches since then are not taken again, as Chowdhery et al. (PaLM, arXiv 2204.02311, section 5.1) do where a
    loss spikes: what failed may have been due to them, and training always ends after as many steps.

    A point is kept at every `every`-th step, and is good once training has survived as many steps from it: weights
    from which the very next step fails are no place to go back to.

    Attributes:
        factor: Of the learning rate, at each failure.
        every: Optimiser steps between the points that are kept.
    """

    factor: float
    every: int = 20

    def begin(self, point: Point) -> Rolled:
        """Everything leads back to where training begins."""
        return Rolled(jnp.ones((), jnp.float32), _copied(point), _copied(point))

    def went_on(self, own: Rolled, point: Point) -> Rolled:
        """The points of another solver do not fit this one: all lead back to here."""
        return Rolled(own.scale, _copied(point), _copied(point))

    def scaled(self, updates: PyTree, own: Rolled) -> PyTree:
        """The updates of Adam are proportional to its learning rate."""
        return jax.tree.map(lambda update: own.scale.astype(update.dtype) * update, updates)

    def after(self, failed: Array, old: Point, new: Point, own: Rolled, number: Array) -> tuple[Point, Rolled]:
        """The last good point where the step failed."""
        due = number % self.every == 0
        good, newer = _either(due, own.newer, own.good), _either(due, old, own.newer)
        scale = jnp.where(failed, self.factor * own.scale, own.scale)
        return _either(failed, good, new), Rolled(scale, good, _either(failed, good, newer))

    def lr_scale(self, own: Rolled) -> float:
        """As it is now."""
        return float(own.scale)


def guard_of(settings: Settings) -> Guard:
    """The guard of these settings; a run that a failure ends has no need of one."""
    return Rollback(settings.rollback_lr) if settings.on_failure == "rollback" else Keep()


def _either(condition: Array, one: PyTree, other: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)


def _copied(point: Point) -> Point:
    """A copy: a dispatch consumes each buffer that it is given, so none may be given twice."""
    return jax.tree.map(jnp.array, point)

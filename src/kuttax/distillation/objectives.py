"""Objectives: what a fit makes small, as a vector of errors for each start."""

from abc import abstractmethod
from dataclasses import replace
from typing import Any, Literal, Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float

from ..solvers.base.solver import AbstractSolver
from ..solvers.rk.learned import LearnedRK
from .frozen import Frozen
from .starts import Pairs

ObjectiveKind = Literal["end", "local", "relaxed"]
OneStart = Float[Array, " errors"]


class AbstractObjective(eqx.Module):
    """The errors of a student on pairs of starts and ends.

    Attributes:
        frozen: The field and its interval.
        most: The bound of one start's root mean square error. A start that a scheme cannot cross has an infinite error,
            or one of 1e39, and would decide the fit alone.
    """

    frozen: Frozen
    most: Array

    @abstractmethod
    def raw(self, student: AbstractSolver, pair: Pairs) -> OneStart:
        """The errors of one start, unbounded; `pair` has no axis of starts."""

    def error(self, student: AbstractSolver, pair: Pairs) -> OneStart:
        """`raw` in a form that no start can dominate: small errors as they are, the size of large ones below `most`."""
        error = self.raw(student, pair)
        square = jnp.mean(error**2)
        return jnp.where(
            jnp.isfinite(square), error / jnp.sqrt(1 + square / self.most**2), jnp.full_like(error, self.most)
        )

    def for_student(self, student: AbstractSolver, pairs: Pairs) -> Self:
        """With the median error of the starts as the bound, if that is less.

        Later, when most errors are far below that median, the fit is one of least squares. Before, it does not try to
        mend starts whose ends change their place at the least change of the scheme.
        """
        sizes = _sizes(self, student, pairs)
        typical = jnp.median(jnp.where(jnp.isfinite(sizes), sizes, self.most))
        return replace(self, most=jnp.clip(typical, 1e-9 * self.most, self.most))

    def errors(self, student: AbstractSolver, pairs: Pairs) -> Float[Array, "starts errors"]:
        """The bounded errors of all starts."""
        return jax.vmap(lambda pair: self.error(student, pair))(pairs)

    def moved(self, student: LearnedRK, pairs: Pairs, first: Pairs) -> Pairs:
        """The pairs for the next part of the fit: those of now, unless the objective moves their starts."""
        del student, first
        return pairs

    @property
    def moves(self) -> bool:
        """Whether the starts move."""
        return False

    def size(self, student: AbstractSolver, pairs: Pairs) -> int:
        """The number of errors of one start."""
        return jax.eval_shape(self.error, student, jax.tree.map(lambda x: x[0], pairs)).size


class EndPoint(AbstractObjective):
    """The error at the end of the interval."""

    def raw(self, student: AbstractSolver, pair: Pairs) -> OneStart:
        return ravel_pytree(self.frozen.end(student, pair.start, pair.own))[0] - ravel_pytree(pair.end)[0]


class Local(AbstractObjective):
    """The error of each step from the teacher's state at its beginning, so that one start gives errors for every step.

    The teacher's states at the times of the student's steps come from its path.
    """

    def raw(self, student: AbstractSolver, pair: Pairs) -> OneStart:
        assert pair.path is not None
        path, frozen = pair.path, self.frozen
        table = student.table(jax.tree.leaves(pair.start)[0].dtype)  # pyright: ignore[reportAttributeAccessIssue]
        t, h = table.grid(jnp.asarray(frozen.t0), jnp.asarray(frozen.t1))
        field = lambda t, y: frozen(t, y, pair.own)

        def step(row):
            a, b, c, t, h = row
            begin, end = (path.at((x - frozen.t0) / (frozen.t1 - frozen.t0)) for x in (t, t + h))
            return jax.tree.map(jnp.subtract, table.advance(field, (a, b, c), t, begin, h), end)

        # One step after the other: a field may need the same time for all samples.
        return ravel_pytree(jax.lax.map(step, (table.a, table.b, table.c, t, h)))[0]


class Relaxed(EndPoint):
    """The error at the end from a start that may move inside a small ball around the given one.

    Few parameters cannot match every start exactly; it is enough that a sample that is nearly the teacher's comes from
    noise that is nearly its own (LD3, Tong et al., ICLR 2025, arXiv 2405.15506).

    Attributes:
        radius: The radius of the ball, in the units of the starts.
    """

    radius: Array

    def moved(self, student: LearnedRK, pairs: Pairs, first: Pairs) -> Pairs:
        """The starts after one step down the gradient of each one's error, projected into the ball.

        The step ends where the linearised error is least.
        """

        def one(pair: Pairs, origin: Pairs) -> Any:
            flat, shaped = ravel_pytree(pair.start)
            at = lambda x: self.error(student, replace(pair, start=shaped(x)))
            error, back = jax.vjp(at, flat)
            slope = back(error)[0]
            along = jax.jvp(at, (flat,), (slope,))[1]
            step = jnp.sum(slope**2) / jnp.maximum(jnp.sum(along**2), jnp.finfo(flat.dtype).tiny)
            home = ravel_pytree(origin.start)[0]
            away = flat - step * slope - home
            away = jnp.where(jnp.isfinite(away), away, flat - home)
            return shaped(home + away * jnp.minimum(1, self.radius / jnp.maximum(jnp.linalg.norm(away), self.radius)))

        return replace(pairs, start=jax.vmap(one)(pairs, first))

    @property
    def moves(self) -> bool:
        return True


@eqx.filter_jit
def crossed(frozen: Frozen, solver: AbstractSolver, pairs: Pairs) -> Bool[Array, " starts"]:
    """Which starts `solver` takes to an end that is finite."""
    one = lambda pair: jnp.isfinite(EndPoint(frozen, jnp.ones(())).raw(solver, pair)).all()
    return jax.vmap(one)(pairs)


@eqx.filter_jit
def _sizes(objective: AbstractObjective, student: AbstractSolver, pairs: Pairs) -> Float[Array, " starts"]:
    """The root mean square of each start's errors, unbounded."""
    return jax.vmap(lambda pair: jnp.sqrt(jnp.mean(objective.raw(student, pair) ** 2)))(pairs)


@eqx.filter_jit
def rmse(objective: AbstractObjective, student: AbstractSolver, pairs: Pairs) -> Float[Array, ""]:
    """Root mean square of the bounded errors, over starts and components."""
    return jnp.sqrt(jnp.mean(objective.errors(student, pairs) ** 2))
